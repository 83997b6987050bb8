"""Reading a job's outputs: the manifest, whole, filtered or batch by batch. Needs no cluster and no torch.

Filters go down to Parquet: only matching rows are read into memory. Knows the output folder and its manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from dreamcache.core.errors import StorageError
from dreamcache.storage.arrow import pyarrow_filesystem, reading
from jobs.output.folder import OutputFolder
from jobs.output.manifest import MANIFEST_COLUMNS

BATCH_ROWS = 16_384
NEEDED = ("item_id",)
"""Without it a row says nothing."""


def outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The manifest of the job at `uri` (a folder or s3:// URI), a row per planned item; `.to_pandas()` works.

    status: done, blocked, failed or pending; subject: one subject_id; columns: only these. Raises StorageError
    before a run has ended.
    """
    dataset = manifest_dataset(uri)
    with reading_manifest(uri):
        return dataset.to_table(columns=_list(columns), filter=_filter(status, subject))


def scan_outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """`outputs` in batches, in manifest order, for manifests larger than memory."""
    dataset = manifest_dataset(uri)
    with reading_manifest(uri):
        yield from dataset.to_batches(
            columns=_list(columns),
            filter=_filter(status, subject),
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
            use_threads=False,
        )


def scan_outputs_if_any(uri: str, *, columns: Sequence[str]) -> Iterator[pa.Table]:
    """`scan_outputs` as tables; nothing before a run has ended."""
    try:
        manifest_dataset(uri)
    except StorageError as error:
        if error.code != "no_manifest":
            raise
        return
    for batch in scan_outputs(uri, columns=columns):
        yield pa.table(batch)


def first_outputs(
    uri: str, limit: int, *, status: str | None = None, subject: str | None = None
) -> tuple[pa.Table, int]:
    """(the first `limit` rows that match, 0 for all; the number of rows that match)."""
    if not limit:
        table = outputs(uri, status=status, subject=subject)
        return table, table.num_rows
    dataset, wanted = manifest_dataset(uri), _filter(status, subject)
    with reading_manifest(uri):
        return dataset.head(limit, filter=wanted), dataset.count_rows(filter=wanted)


def manifest_dataset(uri: str) -> ds.Dataset:
    """The manifest, not read yet. Columns that an older release did not write are null.

    Raises StorageError `no_manifest` before a run has ended, `newer_format` for the folder of a later release.
    """
    folder = OutputFolder(uri)
    # Asked of our own store first, whose errors say what to do.
    if folder.files.stat("manifest.parquet") is None:
        raise StorageError(
            f"output '{uri}': has no manifest.parquet; it is written when a run ends, see 'dreamcache status'",
            code="no_manifest",
        )
    filesystem, path = pyarrow_filesystem(folder.at("manifest.parquet"))
    folder.check_format()
    with reading_manifest(uri):
        written = ds.dataset(path, filesystem=filesystem, format="parquet")
        check_columns(written.schema)
        missing = [column for column in MANIFEST_COLUMNS if column[0] not in written.schema.names]
        return written.replace_schema(pa.schema([*written.schema, *missing])) if missing else written


def reading_manifest(uri: str) -> AbstractContextManager[None]:
    """What Arrow raises in this block becomes a StorageError `bad_manifest`."""
    where = f"{uri.rstrip('/')}/manifest.parquet"
    return reading(where, "a job's manifest", code="bad_manifest", remedy="'dreamcache run' writes it anew")


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


def _list(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)
