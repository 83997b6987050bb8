"""Where training samples come from: a folder, Parquet shards, or WebDataset tar shards; local or s3://.

    folder      images/<name>.png  masks/<name>.png  metadata.jsonl or metadata.csv (file_name, caption)
    parquet     *.parquet, columns image, mask, caption; images as bytes or as Hugging Face's {bytes, path}
    webdataset  *.tar, members <key>.png|jpg|webp, <key>.mask.png, <key>.txt or <key>.json (caption)

A sample may bring its own reference photo, another picture of the same subject: `references/<name>.png`, column
`reference`, member `<key>.reference.png|jpg|webp`; and that photo's mask: `reference_masks/`, `reference_mask`.

A shard is what is read at once: the whole folder (file by file), a row group, a tar. Knows names and bytes; knows
nothing of pixels.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, Protocol

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import CatalogError
from dreamcache.storage.below import RULE, is_name
from dreamcache.storage.bounded import NotRegular, TooLarge, read_bounded
from dreamcache.storage.open_store import join, store_for
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


class FolderSource:
    """One shard whose samples are read one by one."""

    def __init__(self, path: str, names: Sequence[str], table: str) -> None:
        self.path = path
        self.beside = {
            field: {_below(name, folder): name for name in names if name.startswith(f"{folder}/")}
            for field, folder in BESIDE.items()
        }
        self.rows = list(_captions(_read_table(join(path, table)), table, path))
        self.sizes = (len(self.rows),)
        self.shard_bytes = 0

    def where(self, shard: int, index: int) -> str:
        return join(self.path, self._file(index))

    def open(self, shard: int) -> Sequence[StoredSample]:
        return Lazy(len(self.rows), self._read)

    def _read(self, index: int) -> StoredSample:
        caption, file = self.rows[index][1], self._file(index)
        key, where = _below(file, "images"), join(self.path, file)
        beside = {
            field: read_photo(join(self.path, names[key]), f"{where}, {field}", LIMITS)
            if key in names
            else None
            for field, names in self.beside.items()
        }
        return StoredSample(where=where, image=read_photo(where, where, LIMITS), caption=caption, **beside)

    def _file(self, index: int) -> str:
        name = self.rows[index][0]
        return name if name.startswith("images/") else f"images/{name}"


def _below(name: str, folder: str) -> str:
    """images/a/1.png is a/1: pictures of one sample have that in common, and 1.png of another folder has not."""
    return str(PurePosixPath(name).relative_to(folder).with_suffix(""))


def _read_table(uri: str) -> bytes:
    try:
        return read_bounded(uri, TABLE_BYTES)
    except (TooLarge, NotRegular) as error:
        raise CatalogError(f"data '{uri}': {error}") from error


def _captions(data: bytes, name: str, path: str) -> Iterable[tuple[str, str]]:
    try:
        text = data.decode("utf-8-sig")
        if name.endswith(".csv"):
            rows: list[Any] = list(csv.DictReader(io.StringIO(text, newline="")))
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, csv.Error, RecursionError) as error:
        kind = "CSV" if name.endswith(".csv") else "JSON lines"
        raise CatalogError(
            f"data '{path}': {name} must be {kind} in UTF-8: {' '.join(str(error).split())[:200]}"
        ) from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise CatalogError(
                f"data '{path}': {name} row {number}: must be an object, got {type(row).__name__}"
            )
        if not row.get("file_name") or not set(row) & set(CAPTION_NAMES):
            raise CatalogError(
                f"data '{path}': {name} row {number}: needs file_name and caption, got {sorted(map(str, row))}"
            )
        if not is_name(row["file_name"]):
            raise CatalogError(
                f"data '{path}': {name} row {number}: file_name must be {RULE}, got "
                f"{ascii(row['file_name'])[:200]}; move the picture into images/"
            )
        yield str(row["file_name"]), caption_of(row)
