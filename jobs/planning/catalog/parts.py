"""Which files a catalog consists of, and their bytes, bounded: a file, or the parts of a folder.

    c.csv  c.tsv.gz  c.jsonl  c.parquet           one file
    c.parquet/part-0.parquet, _SUCCESS, _metadata  a folder of parts, as Spark, Ray and Hugging Face write it

Knows names and storage; knows nothing of what the files hold.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO

from dreamcache.core.errors import CatalogError, DreamCacheError, StorageError
from dreamcache.core.locations import is_local
from dreamcache.storage.bounded import NotRegular
from dreamcache.storage.local import check_regular, list_readable
from dreamcache.storage.open_store import read_bounded, store_for
from dreamcache.storage.store import ObjectInfo
from jobs.planning.catalog.rows import MAX_CATALOG_BYTES

FORMS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
GZIP = ".gz"
ENDINGS = ".csv, .jsonl or .parquet"
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".json", ".feather", ".arrow", ".orc", ".avro", ".txt", ".zip")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One file of a catalog. form: csv, jsonl or parquet. partition: columns that its folders state, `color=red`."""

    uri: str
    form: str
    is_tsv: bool = False
    is_gzip: bool = False
    partition: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.uri.rpartition("/")[2]

    def read(self) -> bytes:
        """The file's bytes. Raises CatalogError when there is none, or when it is too large or no regular file."""
        try:
            return read_bounded(self.uri, MAX_CATALOG_BYTES)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise CatalogError(
                f"catalog '{self.uri}': must be an existing file or folder, got none; check the path"
            ) from error
        except DreamCacheError as error:
            if error.code not in ("too_large", "not_a_file"):
                raise
            raise CatalogError(f"catalog: {error}") from error

    def lines_of(self, data: bytes) -> IO[bytes]:
        """The file's bytes as a stream, decompressed. Reading a damaged or endless one raises CatalogError."""
        return io.BufferedReader(_Unpacked(data, self.uri)) if self.is_gzip else io.BytesIO(data)


class _Unpacked(io.RawIOBase):
    """What a gzip file holds, up to MAX_CATALOG_BYTES: a small file may hold any number of bytes."""

    def __init__(self, data: bytes, uri: str) -> None:
        self._file, self._uri, self._count = gzip.GzipFile(fileobj=io.BytesIO(data)), uri, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        try:
            chunk = self._file.read(len(view))
        except (OSError, EOFError, zlib.error) as error:
            raise CatalogError(
                f"catalog '{self._uri}': must be a whole gzip file, got a damaged one ({error}); compress it again"
            ) from error
        self._count += len(chunk)
        if self._count > MAX_CATALOG_BYTES:
            raise CatalogError(
                f"catalog '{self._uri}': may hold at most {MAX_CATALOG_BYTES:,} bytes once unpacked, holds more; "
                "split it"
            )
        view[: len(chunk)] = chunk
        return len(chunk)


def parts_of(uri: str) -> list[Part] | None:
    """The files of a catalog in order, none where there is nothing; None for what may be a folder of photos.

    Raises CatalogError for a table of another form.
    """
    part = _part(uri)
    if part is not None:
        if _is_file(uri):
            return [part]
        return _parts_below(uri, part.form)
    if _is_file(uri):
        _check_regular(uri)
        ending = PurePosixPath(uri).suffix.lower()
        hint = "; export it as CSV" if ending in OTHER_TABLES else ""
        raise CatalogError(
            f"catalog '{uri}': must be a {ENDINGS} file, or a folder of images; got none of these{hint}"
        )
    return _tables_in_folder(uri)


def folder_of(uri: str) -> str:
    """Against what relative paths of a catalog's rows are resolved: its folder, which a folder of parts is itself,
    unless its name is a file's (c.parquet/)."""
    is_file_like = _part(uri.rstrip("/")) is not None
    return uri.rstrip("/").rpartition("/")[0] if is_file_like else uri.rstrip("/")


def _part(uri: str, partition: dict[str, str] | None = None) -> Part | None:
    path = PurePosixPath(uri.lower())
    is_gzip = path.suffix == GZIP
    ending = PurePosixPath(path.stem).suffix if is_gzip else path.suffix
    form = FORMS.get(ending)
    if form is None or (is_gzip and form == "parquet"):
        return None
    return Part(uri=uri, form=form, is_tsv=ending == ".tsv", is_gzip=is_gzip, partition=dict(partition or {}))


def _is_file(uri: str) -> bool:
    return store_for(uri).stat(uri) is not None


def _check_regular(uri: str) -> None:
    """Raises CatalogError for a pipe or device, whose name has no ending: `<(..)` of a shell is one."""
    try:
        check_regular(uri)
    except NotRegular as error:
        raise CatalogError(f"catalog: {error}, {ENDINGS}") from error


def _parts_below(uri: str, form: str) -> list[Part]:
    """Files of one form below a folder, by name."""
    prefix = uri.rstrip("/") + "/"
    parts = (_part(prefix + name, _partition(name)) for name in sorted(_visible_below(prefix)))
    return [part for part in parts if part is not None and part.form == form]


def listed(prefix: str, unreadable: dict[str, StorageError]) -> Iterator[ObjectInfo]:
    """All below a folder. unreadable: receives what of it cannot be listed, by URI, which costs only itself."""
    if is_local(prefix):
        return list_readable(prefix, unreadable.__setitem__)
    return store_for(prefix).list(prefix)


def _visible_below(prefix: str, unreadable: dict[str, StorageError] | None = None) -> Iterator[str]:
    """Names below a folder; what begins with . or _ belongs to the program that wrote the parts. unreadable: see
    `listed`; None raises."""
    infos = store_for(prefix).list(prefix) if unreadable is None else listed(prefix, unreadable)
    for info in infos:
        name = info.uri.removeprefix(prefix)
        if not any(step.startswith((".", "_")) for step in name.split("/")):
            yield name


def _tables_in_folder(uri: str) -> list[Part] | None:
    """Parquet parts of a folder that holds nothing else that is visible, as Ray and Spark write it; else None."""
    unreadable: dict[str, StorageError] = {}
    is_empty = True
    for name in _visible_below(uri.rstrip("/") + "/", unreadable):
        is_empty = False
        if not name.lower().endswith(".parquet"):
            return None
    if is_empty:
        return None
    # Of a table, unlike of photos, nobody knows what is missing: a folder of it that cannot be listed is an error.
    return _parts_below(uri, "parquet") or None


def _partition(name: str) -> dict[str, str]:
    """{column: value} of the folders in color=red/part-0.parquet, as Spark writes partitioned tables."""
    steps = (step.partition("=") for step in name.split("/")[:-1])
    return {
        key: "" if value == "__HIVE_DEFAULT_PARTITION__" else value for key, equals, value in steps if equals
    }
