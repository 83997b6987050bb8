"""The log of parts: what is written once is read by name and number; other releases' files say so in one line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage import part_log
from dreamcache.storage.open_store import join, open_store
from dreamcache.storage.part_log import LogSettings, PartFormat, PartLog

OLD = pa.schema([pa.field("id", pa.string(), nullable=False)])
SCHEMA = pa.schema([*OLD, pa.field("note", pa.string()), pa.field("count", pa.int32())])


def log_of(folder: str, *, schema: pa.Schema | None = SCHEMA, number: int = 2) -> PartLog:
    fmt = PartFormat(family="tests.rows/", number=number, schema=schema)
    return PartLog(folder, LogSettings(format=fmt, what="a part", code="bad_rows", remedy="delete it"))


def rows(*names: str, schema: pa.Schema = SCHEMA) -> pa.Table:
    return pa.Table.from_pylist([{"id": name} for name in names], schema=schema)


def test_append_once_list_and_scan(place: str) -> None:
    log = log_of(join(place, "log"))
    assert log.parts() == [] and list(log.scan()) == []
    first = log.append("b", rows("1", "2"))
    assert log.append("b", rows("3")) == first, "the name is the content's"
    log.append("a", rows("4"))
    open_store(place).write("log/other.txt", b"")
    assert [part_log.name_of(info.uri) for info in log.parts()] == ["part-a.parquet", "part-b.parquet"]
    assert [table["id"].to_pylist() for table in log.scan()] == [["4"], ["1", "2"]]
    seen = {first}
    assert [table["id"].to_pylist() for table in log.scan(seen)] == [["4"]]
    assert len(seen) == 2 and list(log.scan(seen)) == []


def test_a_part_that_lacks_a_newer_column_has_nulls(tmp_path: Path) -> None:
    log_of(str(tmp_path), schema=OLD).append("a", rows("1", schema=OLD))
    [table] = log_of(str(tmp_path)).scan()
    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == [{"id": "1", "note": None, "count": None}]


@pytest.mark.parametrize(
    ("schema", "number", "code", "message"),
    [
        (pa.schema([*SCHEMA, ("later", pa.string())]), 2, "newer_format", "does not know: later; update dreamcache"),
        (SCHEMA, 3, "newer_format", "has format tests.rows/3, this release reads tests.rows/2; update dreamcache"),
        (SCHEMA, 1, "bad_rows", "has format tests.rows/1, this release reads tests.rows/2; delete it"),
        (pa.schema([("note", pa.string())]), 2, "bad_rows", "has no column 'id'; delete it"),
        (pa.schema([("id", pa.int64())]), 2, "bad_rows", "'id' of type int64, needed is string; delete it"),
        (pa.schema([("id", pa.string())]), 2, "bad_rows", "has nulls in column 'id'; delete it"),
    ],
)  # fmt: skip
def test_files_of_another_format_say_what_to_do(
    tmp_path: Path, schema: pa.Schema, number: int, code: str, message: str
) -> None:
    table = pa.Table.from_pylist([{}], schema=pa.schema([field.with_nullable(True) for field in schema]))
    uri = log_of(str(tmp_path), schema=schema, number=number).append("a", table)
    with pytest.raises(StorageError) as caught:
        list(log_of(str(tmp_path)).scan())
    assert (caught.value.code, str(caught.value).count("\n")) == (code, 0)
    assert uri in str(caught.value) and message in str(caught.value)


def test_reading_ahead_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(str(tmp_path))
    for number in range(60):
        log.append(f"{number:02d}", rows(str(number)))
    reads: list[str] = []
    read = log.read

    def counted(uri: str) -> pa.Table | None:
        reads.append(uri)
        return read(uri)

    monkeypatch.setattr(log, "read", counted)
    tables = log.scan()
    next(tables)
    assert len(reads) <= 33
    assert [table["id"][0].as_py() for table in tables] == [str(number) for number in range(1, 60)]


def test_parts_that_vanish_for_good_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(str(tmp_path))
    log.append("a", rows("1"))
    monkeypatch.setattr(log, "read", lambda uri: None)
    with pytest.raises(StorageError, match="must be readable where they are listed") as caught:
        list(log.scan())
    assert caught.value.code == "bad_rows"


def test_a_merge_creates_before_it_deletes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(place)
    sources = [log.append(name, rows(name)) for name in "abc"]
    deleted: list[list[str]] = []
    delete = type(log.store).delete

    def look(store: object, key: str) -> None:
        deleted.append([part_log.name_of(info.uri) for info in log.parts()])
        delete(log.store, key)

    monkeypatch.setattr(type(log.store), "delete", look)
    assert log.merge(sources, pa.concat_tables, lambda data: "part-z.parquet") == 2
    assert len(deleted) == 3 and all("part-z.parquet" in names for names in deleted)
    [table] = log.scan()
    assert sorted(table["id"].to_pylist()) == ["a", "b", "c"]
    assert log.merge(sources, pa.concat_tables, lambda data: "part-y.parquet") == 0, "its sources are gone"
