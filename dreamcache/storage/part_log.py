"""An append-only log of sealed Parquet parts in one folder: the form of ledger, prunes, scores and synthesis parts.

    table --seal--> <folder>/<prefix><name>.parquet --scan--> tables, a bounded number read ahead
                        |                         ^
                        +-- merge: several parts -+ become one, which is listed after them

A part is written once, by conditional write, and never changed. A part may go while the log is read, but not its
rows: they are then in a part that a later listing shows (see `compaction`).

Knows parts, their names and their format; knows nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from dreamcache.core.errors import StorageError
from dreamcache.core.parallel import map_ordered, run_all
from dreamcache.storage.open_store import open_store
from dreamcache.storage.sealed_parquet import MOST_ROWS, UNPACKED_BYTES, seal, unseal
from dreamcache.storage.store import ObjectInfo

LABEL_KEY = "dreamcache.schema"
SUFFIX = ".parquet"
MAX_LISTINGS = 20


class NewerFormatError(ValueError):
    """A file that a later release wrote. The text follows "one that ..."."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFormat:
    """What a sealed file is: `family` and `number` stand in its metadata as its label.

    The number rises when a column goes or means something else. A new column leaves it as it is: parts without the
    column read as nulls. schema: of the rows; None where each file has its own.
    """

    family: str
    number: int
    schema: pa.Schema | None

    @property
    def label(self) -> str:
        return f"{self.family}{self.number}"

    def seal(self, table: pa.Table, **metadata: str) -> bytes:
        """The rows as one sealed file; equal rows are equal bytes. metadata: further entries of its footer."""
        return seal(table, {LABEL_KEY: self.label, **metadata})

    def unseal(
        self, data: bytes, limit: int = UNPACKED_BYTES, rows: int = MOST_ROWS
    ) -> tuple[pa.Table, dict[str, str]]:
        """(rows in the format's schema, metadata). ValueError, whose text follows "one that ...", for other files.

        limit: bytes that the rows may unpack to; rows: how many there may be.
        """
        table, metadata = unseal(data, limit, rows)
        self._check_label(metadata.get(LABEL_KEY))
        return table if self.schema is None else _conform(table, self.schema), metadata

    def _check_label(self, label: str | None) -> None:
        if label == self.label:
            return
        number = (
            label.removeprefix(self.family) if label is not None and label.startswith(self.family) else ""
        )
        if number.isdigit() and int(number) > self.number:
            raise NewerFormatError(f"has format {label}, this release reads {self.label}")
        raise ValueError(f"has format {label}, this release reads {self.label}")


def no_problem(table: pa.Table) -> str | None:
    """Rows of which nothing is known."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """A log's format and its words. what: a part, in messages; code: of its errors; remedy: for a damaged part.

    problem: what is wrong with a part's rows though its checksum is right, after "one that ..."; None for nothing. A
    checksum shows damage, not who wrote the part.
    """

    format: PartFormat
    what: str
    code: str
    remedy: str
    prefix: str = "part-"
    problem: Callable[[pa.Table], str | None] = no_problem


class PartLog:
    """The parts in one folder, each known by its URI. Picklable. StorageError when the location cannot be used."""

    def __init__(self, folder_uri: str, settings: LogSettings) -> None:
        self.uri = folder_uri
        self.settings = settings
        self.store = open_store(folder_uri)

    def append(self, name: str, table: pa.Table, **metadata: str) -> str:
        """Writes `<prefix><name>.parquet` unless it is there already, and returns its URI.

        name: a pure function of the rows, so that a repeated append changes nothing.
        """
        key = f"{self.settings.prefix}{name}{SUFFIX}"
        self.store.create(key, self.settings.format.seal(table, **metadata))
        return self.store.at(key)

    def parts(self) -> list[ObjectInfo]:
        """The parts there are now, in order of their names; other files are passed over."""
        return self.parts_among(self.store.list())

    def parts_among(self, listed: Iterable[ObjectInfo]) -> list[ObjectInfo]:
        """`parts` of a listing of the folder that the caller has."""
        parts = [info for info in listed if self._is_part(self.store.key_of(info.uri))]
        return sorted(parts, key=lambda info: info.uri)

    def _is_part(self, name: str) -> bool:
        # A log's folder is flat: what lies deeper is not a part, and could not be read by its name.
        return name.startswith(self.settings.prefix) and name.endswith(SUFFIX) and "/" not in name

    def read(self, uri: str) -> pa.Table | None:
        """The part's rows; None when it is there no more. StorageError with the log's code when it is damaged."""
        try:
            return self.read_with_metadata(uri)[0]
        except FileNotFoundError:
            return None

    def read_with_metadata(self, uri: str) -> tuple[pa.Table, dict[str, str]]:
        """(rows, metadata) of a part. FileNotFoundError when it is gone, StorageError when it is damaged."""
        try:
            table, metadata = self.settings.format.unseal(self.store.read(name_of(uri)))
            if problem := self.settings.problem(table):
                raise ValueError(problem)
            return table, metadata
        except NewerFormatError as error:
            raise StorageError(
                f"{uri}: {self.settings.what} of this release's format is needed, got one that {error}; "
                "update dreamcache to the release that wrote it",
                code="newer_format",
            ) from error
        except ValueError as error:
            settings = self.settings
            raise StorageError(
                f"{uri}: {settings.what} that is intact is needed, got one that {error}; {settings.remedy}",
                code=settings.code,
            ) from error

    def read_ahead(self, uris: Iterable[str]) -> Iterator[tuple[str, pa.Table | None]]:
        """(uri, rows) of these parts, in order, a bounded number of them in memory; None for one that is gone."""
        return map_ordered(lambda uri: (uri, self.read(uri)), uris, name="parts")

    def scan(self, seen: set[str] | None = None) -> Iterator[pa.Table]:
        """The rows of every part, a table a part.

        seen: URIs of parts to pass over; those read now are added. Rows may come twice while parts are merged, and
        never not at all. StorageError with the log's code when a part is damaged.
        """
        seen = set() if seen is None else seen
        for _ in range(MAX_LISTINGS):
            gone = False
            for uri, table in self.read_ahead([info.uri for info in self.parts() if info.uri not in seen]):
                if table is None:
                    gone = True  # merged since the listing: a later one shows the part that has its rows
                else:
                    seen.add(uri)
                    yield table
            if not gone:
                return
        raise StorageError(
            f"{self.uri}: parts must be readable where they are listed, got none {MAX_LISTINGS} times; "
            "check the storage",
            code=self.settings.code,
        )

    def merge(
        self,
        sources: Iterable[str],
        combine: Callable[[Iterable[pa.Table]], pa.Table],
        name: Callable[[bytes], str],
    ) -> int:
        """Replaces parts by one with all their rows; returns by how many there are fewer now.

        The merged part is created before the first source is deleted. combine: the rows of all; name: of the merged
        part's bytes, listed after the names of its sources.
        """
        tables = {uri: table for uri, table in self.read_ahead(sources) if table is not None}
        if len(tables) < 2:
            return 0  # another compactor was here
        # Created by this call or there already: in both cases a part with all these rows has been committed.
        data = self.settings.format.seal(combine(tables.values()))
        self.store.create(name(data), data)
        run_all(self.store.delete, [name_of(uri) for uri in tables], name="merge")
        return len(tables) - 1


def name_of(uri: str) -> str:
    """The last part of a URI: a log's folder is flat."""
    return uri.rsplit("/", 1)[-1]


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in this schema. Columns that it lacks are null. ValueError when it does not fit."""
    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        if field.name in table.column_names:
            if table.schema.field(field.name).type != field.type:
                got = table.schema.field(field.name).type
                raise ValueError(f"has column '{field.name}' of type {got}, needed is {field.type}")
            columns.append(table[field.name])
        elif field.nullable:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise ValueError(f"has no column '{field.name}'")
    if unknown := [name for name in table.column_names if name not in schema.names]:
        raise NewerFormatError(f"has columns that this release does not know: {', '.join(unknown)}")
    result = pa.table(columns, schema=schema)
    for field in schema:
        if not field.nullable and result[field.name].null_count:
            raise ValueError(f"has nulls in column '{field.name}'")
    return result
