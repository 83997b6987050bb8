"""Where training samples come from: a folder, Parquet shards, or WebDataset tar shards; local or s3://.

    folder      images/<name>.png  masks/<name>.png  metadata.jsonl or metadata.csv (file_name, caption);
                the images may also lie beside the metadata, as Hugging Face's imagefolder has them
    parquet     *.parquet, columns image, mask, caption; images as bytes or as Hugging Face's {bytes, path}
    webdataset  *.tar, members <key>.png|jpg|webp, <key>.mask.png, <key>.txt or <key>.json (caption)

A sample may bring its own reference photo, another picture of the same subject: `references/<name>.png`, column
`reference`, member `<key>.reference.png|jpg|webp`; and that photo's mask: `reference_masks/`, `reference_mask`.

A shard is what is read at once: the whole folder (file by file), a row group, a tar. Knows names and bytes; knows
nothing of pixels.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import CatalogError, ImageError
from dreamcache.storage.below import RULE, is_name
from dreamcache.storage.bounded import NotRegular, TooLarge
from dreamcache.storage.open_store import join, read_bounded, store_for
from dreamcache.storage.photos import read_photo
from dreamcache.storage.store import relative_to
from dreamcache.training.shards import ParquetSource, TarSource
from dreamcache.training.stored import BESIDE, CAPTION_NAMES, Lazy, StoredSample, caption_of

__all__ = ["FolderSource", "Source", "StoredSample", "open_source"]

LIMITS = ImageLimits()
TABLE_BYTES = 1 << 30


class Source(Protocol):
    """Shards of samples. `sizes`: number of samples of each shard; `shard_bytes`: of the largest, 0 if never held."""

    @property
    def sizes(self) -> tuple[int, ...]: ...

    @property
    def shard_bytes(self) -> int: ...

    def where(self, shard: int, index: int) -> str:
        """Names a sample of a shard for people."""

    def open(self, shard: int) -> Sequence[StoredSample]:
        """The samples of one shard, read now or one by one."""


def open_source(path: str, kind: str = "auto") -> Source:
    """The source at `path`. Raises CatalogError when there is nothing of that kind."""
    names = sorted(relative_to(info.uri, path) for info in store_for(path).list(path))
    files = {
        "parquet": [join(path, name) for name in names if name.endswith(".parquet")],
        "webdataset": [join(path, name) for name in names if name.endswith(".tar")],
        "folder": [name for name in names if name in ("metadata.jsonl", "metadata.csv")],
    }
    if kind == "auto":
        kind = next((name for name in ("folder", "webdataset", "parquet") if files[name]), "auto")
    if not files.get(kind):
        raise CatalogError(
            f"data '{path}': must hold images/ with metadata.jsonl or .csv, *.parquet or *.tar; "
            f"got {len(names)} files and none of these for format '{kind}'"
        )
    if kind == "folder":
        return FolderSource(path, names, files["folder"][0])
    return ParquetSource(files[kind]) if kind == "parquet" else TarSource(files[kind])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A row of the table of captions. fault: why it names no sample, "" where it does."""

    number: int
    file: str = ""
    caption: str = ""
    fault: str = ""
    code: str = "bad_metadata"


class FolderSource:
    """One shard whose samples are read one by one. Images are in images/, or beside the table (Hugging Face)."""

    def __init__(self, path: str, names: Sequence[str], table: str) -> None:
        self.path, self.table = path, table
        self.beside = {
            field: {_below(name, folder): name for name in names if name.startswith(f"{folder}/")}
            for field, folder in BESIDE.items()
        }
        self.rows = [
            _row(number, row) if not isinstance(row, str) else _Row(number=number, fault=row)
            for number, row in _table_rows(_read_table(join(path, table)), table, path)
        ]
        if self.rows and all(row.fault for row in self.rows):
            raise CatalogError(f"data '{path}': {table} row {self.rows[0].number}: {self.rows[0].fault}")
        self.sizes = (len(self.rows),)
        self.shard_bytes = 0
        self._names = frozenset(names) if self.rows else frozenset()

    def where(self, shard: int, index: int) -> str:
        row = self.rows[index]
        return (
            f"{join(self.path, self.table)} row {row.number}"
            if row.fault
            else join(self.path, self._file(row))
        )

    def open(self, shard: int) -> Sequence[StoredSample]:
        return Lazy(len(self.rows), self._read)

    def _read(self, index: int) -> StoredSample:
        row = self.rows[index]
        if row.fault:
            raise ImageError(f"{self.where(0, index)}: {row.fault}", code=row.code)
        file = self._file(row)
        key, where = _below(file, "images"), join(self.path, file)
        beside = {
            field: read_photo(join(self.path, names[key]), f"{where}, {field}", LIMITS)
            if key in names
            else None
            for field, names in self.beside.items()
        }
        return StoredSample(
            where=where, image=read_photo(where, where, LIMITS), caption=row.caption, **beside
        )

    def _file(self, row: _Row) -> str:
        inside = row.file if row.file.startswith("images/") else f"images/{row.file}"
        return row.file if inside not in self._names and row.file in self._names else inside


def _below(name: str, folder: str) -> str:
    """images/a/1.png is a/1: pictures of one sample have that in common, and 1.png of another folder has not."""
    path = PurePosixPath(name)
    return str((path.relative_to(folder) if path.is_relative_to(folder) else path).with_suffix(""))


def _read_table(uri: str) -> bytes:
    try:
        return read_bounded(uri, TABLE_BYTES)
    except (TooLarge, NotRegular) as error:
        raise CatalogError(f"data '{uri}': {error}") from error


def _table_rows(data: bytes, name: str, path: str) -> Iterator[tuple[int, object]]:
    """(number from 1, the row's columns, or as a text why they cannot be read)."""
    if not name.endswith(".csv"):
        lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
        yield from enumerate((_json_row(line) for line in lines if line.strip()), start=1)
        return
    try:
        text = data.decode("utf-8-sig")
        yield from enumerate(list(csv.DictReader(io.StringIO(text, newline=""))), start=1)
    except (ValueError, csv.Error) as error:
        raise CatalogError(
            f"data '{path}': {name} must be CSV in UTF-8: {' '.join(str(error).split())[:200]}"
        ) from error


def _json_row(line: bytes) -> object:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        return f"must be a JSON object in UTF-8: {' '.join(str(error).split())[:200]}; correct the line"
    return row if isinstance(row, dict) else f"must be an object, got {type(row).__name__}; correct the line"


def _row(number: int, row: Any) -> _Row:
    if not row.get("file_name") or not set(row) & set(CAPTION_NAMES):
        names = sorted(map(str, row))[:20]
        return _Row(number=number, fault=f"needs file_name and caption, got {names}; correct the line")
    if not is_name(row["file_name"]):
        got = ascii(row["file_name"])[:200]
        return _Row(
            number=number, fault=f"file_name must be {RULE}, got {got}; move the picture into images/"
        )
    try:
        return _Row(number=number, file=row["file_name"], caption=caption_of(row))
    except ValueError as error:
        return _Row(number=number, file=row["file_name"], fault=str(error), code="bad_caption")
