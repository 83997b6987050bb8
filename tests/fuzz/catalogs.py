"""Catalogs: CSV, JSONL and Parquet as a catalog team may send them."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.planning.catalog import read_catalog
from tests.fuzz.target import Read, Target, only_our_errors

ROWS = [
    {
        "subject_id": "1001",
        "class_name": "mug",
        "image": "a.png",
        "mask": "m.png",
        "prompts": "on sand|in snow",
    },
    {"subject_id": "Été 水", "class_name": "", "image": "s3://b/k.png", "mask": None, "prompts": None},
]
CSV = (
    b"subject_id,class_name,image,prompts\n1,mug,a.png,x|y\n2,,b.png,\n",
    b'\xef\xbb\xbfsubject_id,image,note\r\n1,a.png,"two\nlines, and ""quotes"""\r\n',
    b"subject_id;image\n1;a.png\n",
    b"subject_id\timage\n1\ta.png\n",
)
JSONL = (
    b'{"subject_id": 1, "image": "a.png"}\n{"subject_id": "b", "image": "b.png", "prompts": ["x", "y"], "n": 1.5}\n',
    b'{"subject_id": "\\ud83e\\uded6", "image": "a.png", "deep": {"a": [1, null, true]}}\n',
)


def _parquet(folder: Path) -> list[bytes]:
    files = []
    for table in (
        pa.Table.from_pylist(ROWS),
        pa.table({"subject_id": [1001.0, float("nan")], "image": ["a.png", "b.png"]}),
        pa.table({
            "subject_id": pa.array(["a", "b"]).dictionary_encode(),
            "image": pa.array([{"bytes": b"\x89PNG", "path": "a.png"}, None]),
            "tags": pa.array([["x"], []], pa.list_(pa.string())),
        }),
    ):  # fmt: skip
        for compression in ("none", "snappy", "zstd"):
            out = io.BytesIO()
            pq.write_table(table, out, compression=compression)
            files.append(out.getvalue())
    return files


def _catalog(suffix: str) -> object:
    def reader(folder: Path) -> Read:
        path = folder / f"catalog{suffix}"

        def read(data: bytes) -> None:
            path.write_bytes(data)
            with only_our_errors():
                for _ in read_catalog(str(path)):
                    pass

        return read

    return reader


TARGETS = [
    Target(
        name="catalog-csv",
        seeds=lambda folder: list(CSV),
        reader=_catalog(".csv"),
        words=("subject_id", "image", "mask", "prompts", '"', '""', "\r\n", "|", "\x00"),
    ),
    Target(
        name="catalog-jsonl",
        seeds=lambda folder: list(JSONL),
        reader=_catalog(".jsonl"),
        words=("subject_id", "image", "mask", "prompts", "\\ud83e", "NaN", "1e999", "null", "[[[[[[[["),
    ),
    Target(name="catalog-parquet", seeds=_parquet, reader=_catalog(".parquet")),
]
