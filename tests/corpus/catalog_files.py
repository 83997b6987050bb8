"""Writers of catalogs, for the kinds of `catalogs`, `catalogs_parquet` and `catalogs_folders`.

A row whose id begins with "good" must be read, with the photo of its own name: good-3 shows good-3.jpg, whatever stands
around it. Every other row must be a bad row of the kind's code. Of a good kind, no row is bad.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.corpus.kind import USED, Kind, Write, file_of

HEADER = "subject_id,title,image\n"


def good(number: int, title: str = "x") -> str:
    return f"good-{number},{title},good-{number}.jpg\n"


def csv(*rows: str, header: str = HEADER, ending: str = "", name: str = "c.csv") -> Write:
    """A CSV of these rows between good ones."""
    text = header + good(1) + "".join(rows) + good(8) + good(9)
    return file_of(name, (text[:-1] + ending if ending else text).encode())


def plain(text: str | bytes, name: str = "c.csv") -> Write:
    return file_of(name, text.encode() if isinstance(text, str) else text)


def jsonl(*lines: bytes | dict[str, Any], name: str = "c.jsonl") -> Write:
    first, last = ({"subject_id": f"good-{n}", "image": f"good-{n}.jpg"} for n in (1, 9))
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in (first, *lines, last)]
    return file_of(name, b"\n".join(texts) + b"\n")


def table(**columns: Any) -> pa.Table:
    length = len(next(iter(columns.values()))) if columns else 2
    ids = [f"good-{n}" for n in range(length)]
    return pa.table({"subject_id": ids, "image": [f"{one}.jpg" for one in ids], **columns})


def parquet_bytes(value: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(value, sink, **options)
    return sink.getvalue()


def parquet(value: pa.Table | Callable[[], pa.Table], name: str = "c.parquet", **options: Any) -> Write:
    return file_of(name, lambda: parquet_bytes(value if isinstance(value, pa.Table) else value(), **options))


def folder(*names: str, root: str = "photos") -> Write:
    """A folder of files; what each holds does not matter to a catalog."""

    def write(parent: Path) -> str:
        for name in names:
            path = parent / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return root

    return write


def parts(root: str, files: dict[str, pa.Table | bytes]) -> Write:
    """A folder of Parquet parts and what stands beside them."""

    def write(parent: Path) -> str:
        for name, content in files.items():
            path = parent / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else parquet_bytes(content))
        return root

    return write


def rows_of(start: int, count: int = 2, **columns: Any) -> pa.Table:
    ids = [f"good-{n}" for n in range(start, start + count)]
    return pa.table({"subject_id": ids, "image": [f"{one}.jpg" for one in ids], **columns})


def kind_of(name: str, code: str, inputs: dict[str, Write], *, s3: bool = True) -> Kind:
    exit_code = {USED: 0, "bad_catalog": 2}.get(code, 3)
    return Kind(name=f"catalog/{name}", door="catalog", code=code, inputs=inputs, exit_code=exit_code, s3=s3)
