"""Reading a job's outputs: the manifest, whole, filtered or batch by batch. Needs no cluster and no torch.

    the run has ended: manifest.parquet, or manifest/part-* alone --+--> Manifest --> rows, filtered down in Parquet
    it runs, or was killed: plan and ledger joined (`live`) --------+

The columns of review are those of the review log as it is now, which changes after the manifest was written.
Knows the output folder and its manifest.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from dreamcache.core.errors import StorageError
from dreamcache.storage.arrow import pyarrow_filesystem, reading
from dreamcache.storage.arrow_values import check_values
from dreamcache.storage.local import check_regular
from jobs.output.folder import OutputFolder
from jobs.output.live import write_live_manifest
from jobs.output.manifest import MANIFEST_COLUMNS
from jobs.output.review_columns import NAMES as REVIEW_NAMES
from jobs.output.review_columns import NEEDED as NEEDED_FOR_REVIEW
from jobs.output.review_columns import REVIEW_COLUMNS, ReviewColumns

BATCH_ROWS = 16_384
FEW_AT_ONCE: dict[str, Any] = {
    "batch_size": BATCH_ROWS,
    "batch_readahead": 2,
    "fragment_readahead": 1,
    "use_threads": False,
}
"""Of a scan: what bounds its memory."""
NEEDED = ("item_id",)
"""Without it a row says nothing."""


class Manifest:
    """The manifest of one output folder, not read yet: a dataset, and its files in order.

    is_live: no run has published these rows; they are joined from plan and ledger as of now, in temporary files that
    go away with this object. dataset: columns that an older release did not write are null.
    """

    def __init__(self, uri: str) -> None:
        """Raises StorageError `no_manifest` before a run has begun, `newer_format` for a later release's folder."""
        folder = OutputFolder(uri)
        published = _published(folder)
        self.uri = folder.uri
        self.is_live = _is_live(folder, published)
        if not published and not self.is_live:
            raise StorageError(
                f"output '{uri}': has no manifest.parquet and no plan; a run writes the plan when it begins, see "
                "'dreamcache status'",
                code="no_manifest",
            )
        folder.check_format()
        for key in published:
            # Arrow names a pipe as a file that it does not know, or waits for it.
            check_regular(folder.at(key))
        self.filesystem: pyarrow.fs.FileSystem = pyarrow.fs.LocalFileSystem()
        if self.is_live:
            place = Path(tempfile.mkdtemp(prefix="dreamcache-manifest-"))
            weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
            self.paths = [str(path) for path in write_live_manifest(folder, place)]
        else:
            self.filesystem, _ = pyarrow_filesystem(folder.uri)
            self.paths = [pyarrow_filesystem(folder.at(key))[1] for key in published]
        with self.reading():
            self.dataset = _dataset(self.paths, self.filesystem)
        reviews = ReviewColumns.of_output(folder.uri) if not self.is_live else None
        self._reviews = None if reviews is None or reviews.is_empty else reviews

    def reading(self) -> AbstractContextManager[None]:
        """What Arrow raises in this block becomes a StorageError `bad_manifest`."""
        where = f"{self.uri}/manifest.parquet"
        return reading(
            where, "a job's manifest", code="bad_manifest", remedy="'dreamcache run' writes it anew"
        )

    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, at most `rows` at a time. columns: None for all that the files have."""
        with self.reading():
            for path in self.paths:
                with pq.ParquetFile(path, filesystem=self.filesystem) as file:
                    for batch in file.iter_batches(rows, columns=self.columns_to_read(columns)):
                        check_values(batch)
                        yield from self.reviewed(pa.Table.from_batches([batch]), columns).to_batches()

    def columns_to_read(self, columns: Sequence[str] | None) -> list[str] | None:
        """What a file is asked for: also what the columns of review are looked up by."""
        if columns is None or self._reviews is None or not set(columns) & set(REVIEW_NAMES):
            return None if columns is None else list(columns)
        return list(
            dict.fromkeys([*(name for name in columns if name not in REVIEW_NAMES), *NEEDED_FOR_REVIEW])
        )

    def reviewed(self, table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
        """The rows of a file with the columns of review as of now, in the order of `columns`."""
        if self._reviews is None or (columns is not None and not set(columns) & set(REVIEW_NAMES)):
            return table
        if not set(NEEDED_FOR_REVIEW) <= set(table.column_names):
            return table  # another program's manifest
        table = self._reviews.over(table)
        return (table if columns is None else table.select(list(columns))).combine_chunks()

    @property
    def schema(self) -> pa.Schema:
        """Columns that the files have."""
        with self.reading(), pq.ParquetFile(self.paths[0], filesystem=self.filesystem) as file:
            written: pa.Schema = file.schema_arrow
        missing = [pa.field(*one) for one in REVIEW_COLUMNS if one[0] not in written.names]
        return pa.schema([*written, *missing]) if self._reviews is not None else written


def outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The manifest of the job at `uri` (a folder or s3:// URI), a row per planned item; `.to_pandas()` works.

    status: done, blocked, failed or pending; subject: one subject_id; columns: only these. While a run is at work, and
    after it was killed, the rows are as of now. Raises StorageError `no_manifest` before a run has begun.
    """
    manifest = Manifest(uri)
    with manifest.reading():
        wanted = manifest.columns_to_read(columns)
        table = _whole(manifest.dataset, wanted, _filter(status, subject))
    return manifest.reviewed(table, columns)


def _whole(dataset: ds.Dataset, columns: list[str] | None, wanted: pc.Expression | None) -> pa.Table:
    """All rows that match, in order, a row group after the other. Arrow's own choice reads ahead, and its allocator
    holds on to what it read with: 1,277 MiB for a table of 729 MB, where this takes 948."""
    options: dict[str, Any] = {"columns": columns, "filter": wanted, "use_threads": False}
    tables = [
        group.to_table(schema=dataset.schema, memory_pool=pa.system_memory_pool(), **options)
        for fragment in dataset.get_fragments(wanted)
        for group in fragment.split_by_row_group(wanted)
    ]
    for table in tables:
        check_values(table)
    return (
        pa.concat_tables(tables)
        if tables
        else dataset.schema.empty_table().select(columns or dataset.schema.names)
    )


def scan_outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """`outputs` in batches, in manifest order, for manifests larger than memory."""
    manifest = Manifest(uri)
    with manifest.reading():
        wanted = manifest.columns_to_read(columns)
        batches = manifest.dataset.to_batches(columns=wanted, filter=_filter(status, subject), **FEW_AT_ONCE)
        for batch in batches:
            check_values(batch)
            yield from manifest.reviewed(pa.Table.from_batches([batch]), columns).to_batches()


def scan_outputs_if_any(uri: str, *, columns: Sequence[str]) -> Iterator[pa.Table]:
    """`scan_outputs` as tables; nothing before a run has begun."""
    try:
        for batch in scan_outputs(uri, columns=columns):
            yield pa.table(batch)
    except StorageError as error:
        if error.code != "no_manifest":
            raise


def first_outputs(
    uri: str, limit: int, *, status: str | None = None, subject: str | None = None
) -> tuple[pa.Table, int]:
    """(the first `limit` rows that match, 0 for all; the number of rows that match)."""
    if not limit:
        table = outputs(uri, status=status, subject=subject)
        return table, table.num_rows
    manifest, wanted = Manifest(uri), _filter(status, subject)
    with manifest.reading():
        first = manifest.dataset.head(limit, filter=wanted, **FEW_AT_ONCE)
        check_values(first)
        count = manifest.dataset.count_rows(filter=wanted, **FEW_AT_ONCE)
    return manifest.reviewed(first, None), count


def _published(folder: OutputFolder) -> list[str]:
    """Keys of the manifest's files as a run has published them; the parts where only they were copied."""
    # Asked of our own store, whose errors say what to do.
    if folder.files.stat("manifest.parquet") is not None:
        return ["manifest.parquet"]
    return folder.manifest_parts()


def _is_live(folder: OutputFolder, published: Sequence[str]) -> bool:
    """Whether the stored plan and the ledger know more than what is published."""
    if not folder.plan_parts():
        return False  # a copy of the results alone
    if not published:
        return True
    summary = folder.read_summary() or {}
    # A manifest of an older release, or one without manifest.json, names no state of the ledger: it is taken as it is.
    if not isinstance(summary.get("ledger"), str):
        return False
    stored = folder.plan_fingerprint()
    return stored not in (None, summary.get("plan")) or summary["ledger"] != folder.ledger_version()


def _dataset(paths: Sequence[str], filesystem: pyarrow.fs.FileSystem) -> ds.Dataset:
    written = ds.dataset(list(paths), filesystem=filesystem, format="parquet")
    check_columns(written.schema)
    missing = [column for column in MANIFEST_COLUMNS if column[0] not in written.schema.names]
    return written.replace_schema(pa.schema([*written.schema, *missing])) if missing else written


def check_columns(schema: pa.Schema) -> None:
    """Raises ValueError unless a manifest's own columns have their types, and those that name an item are there."""
    for name, kind in MANIFEST_COLUMNS:
        if name in schema.names:
            got = schema.field(name).type  # ValueError for a name that occurs twice
            if got != kind and not (pa.types.is_integer(got) and pa.types.is_integer(kind)):
                raise ValueError(f"column '{name}' must be {kind}, is {got}")
        elif name in NEEDED:
            raise ValueError(f"column '{name}' is missing")


def _filter(status: str | None, subject: str | None) -> pc.Expression | None:
    wanted = None
    for column, value in (("status", status), ("subject_id", subject)):
        if value is not None:
            equal = pc.field(column) == value
            wanted = equal if wanted is None else wanted & equal
    return wanted
