"""Parquet catalogs: cells keep their values, and no page is unpacked that is too large."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.errors import CatalogError
from dreamcache.core.records import Subject
from dreamcache.storage import parquet_pages
from tests.jobs.test_catalog import read


def test_cells_of_parquet_keep_their_values(tmp_path: Path) -> None:
    table = pa.table(
        {
            "subject_id": pa.array([1001.0, 1002.0]),
            "image": [{"bytes": b"x", "path": "a.png"}, {"bytes": None, "path": "b.png"}],
            "price": [Decimal("1.50"), None],
            "width": [12.0, float("nan")],
            "depth": [1.5, float("inf")],
            "tags": [["red", "blue"], []],
            "day": [date(2026, 1, 31), None],
            "brand": pa.array(["Acme", "Acme"]).dictionary_encode(),
            "note": [b"text", b"\xff\xd8"],
            "size": [{"w": 3}, None],
            "prompts": [["a mug", "  ", "a cup"], None],
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")
    subjects = [entry for entry in read(tmp_path / "c.parquet") if isinstance(entry, Subject)]
    assert [(s.subject_id, s.image, s.prompts) for s in subjects] == [
        ("1001", f"{tmp_path}/a.png", ("a mug", "a cup")),
        ("1002", f"{tmp_path}/b.png", ()),
    ]
    assert subjects[0].attributes == {
        "price": "1.50",
        "width": "12",
        "depth": "1.5",
        "tags": "red, blue",
        "day": "2026-01-31",
        "brand": "Acme",
        "note": "text",
        "size": '{"w": 3}',
    }
    assert set(subjects[1].attributes.values()) == {"", "Acme"}


def test_a_page_that_unpacks_to_more_than_is_allowed_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", 2_000_000)
    table = pa.table({"subject_id": ["a"], "image": ["a.png"], "x": ["y" * 3_000_000]})
    pq.write_table(table, tmp_path / "c.parquet", compression="zstd")
    assert (tmp_path / "c.parquet").stat().st_size < 5000
    with pytest.raises(
        CatalogError, match="column 'x': a page may unpack to 2,000,000 bytes at most, this one states 3,"
    ):
        read(tmp_path / "c.parquet")


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_are_as_large_as_their_headers_state(version: str, compression: str) -> None:
    sink = io.BytesIO()
    table = pa.table({"x": [f"{n:07d}" for n in range(30_000)], "y": list(range(30_000))})
    options = {"data_page_version": version, "compression": compression, "data_page_size": 50_000}
    pq.write_table(table, sink, use_dictionary=False, write_statistics=True, write_page_index=True, **options)
    size = parquet_pages.largest_page(sink.getvalue())
    assert 50_000 <= size < 80_000


@pytest.mark.slow
def test_a_cell_of_a_gigabyte_is_refused_in_little_memory(tmp_path: Path) -> None:
    write = (
        "import sys, pyarrow as pa, pyarrow.parquet as pq\n"
        "x = pa.array([b'y' * 1_000_000_000]).cast(pa.string())\n"
        "pq.write_table(pa.table({'subject_id': ['a'], 'image': ['a.png'], 'x': x}), sys.argv[1], compression='zstd')"
    )
    path = str(tmp_path / "c.parquet")
    subprocess.run([sys.executable, "-c", write, path], check=True)
    assert Path(path).stat().st_size < 200_000
    read = (
        "import sys, resource\nfrom jobs.planning.catalog import read_catalog\n"
        "from dreamcache.core.errors import CatalogError\n"
        "try:\n    list(read_catalog(sys.argv[1]))\nexcept CatalogError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", read, path], capture_output=True, text=True, check=True)
    message, peak = done.stdout.splitlines()
    assert "a page may unpack to" in message and int(peak) < 500_000, done.stdout


def test_damaged_footers_never_end_the_process(tmp_path: Path) -> None:
    """pyarrow's accessors of a column chunk abort at some: each byte is changed, and read as a catalog."""
    table = pa.table(
        {
            "subject_id": pa.array(["a", "b"]).dictionary_encode(),
            "image": pa.array([{"bytes": b"\x89PNG", "path": "a.png"}, None]),
            "tags": pa.array([["x"], []], pa.list_(pa.string())),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    whole, path = sink.getvalue(), tmp_path / "c.parquet"
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 0x0C
        path.write_bytes(data)
        with contextlib.suppress(CatalogError):
            read(path)
