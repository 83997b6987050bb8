"""Reading a job's outputs: the manifest, whole, filtered or batch by batch. Needs no cluster and no torch.

Filters go down to Parquet: only matching rows are read into memory. Knows the output folder and its manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from dreamcache.core.errors import StorageError
from dreamcache.storage.arrow import pyarrow_filesystem
from jobs.output.folder import OutputFolder
from jobs.output.manifest import MANIFEST_COLUMNS

BATCH_ROWS = 16_384


def outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The manifest of the job at `uri` (a folder or s3:// URI), a row per planned item; `.to_pandas()` works.

    status: done, blocked, failed or pending; subject: one subject_id; columns: only these. Raises StorageError
    before a run has ended.
    """
    return manifest_dataset(uri).to_table(columns=_list(columns), filter=_filter(status, subject))


def scan_outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """`outputs` in batches, in manifest order, for manifests larger than memory."""
    yield from manifest_dataset(uri).to_batches(
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
    written = ds.dataset(path, filesystem=filesystem, format="parquet")
    missing = [column for column in MANIFEST_COLUMNS if column[0] not in written.schema.names]
    return written.replace_schema(pa.schema([*written.schema, *missing])) if missing else written


def _filter(status: str | None, subject: str | None) -> pc.Expression | None:
    wanted = None
    for column, value in (("status", status), ("subject_id", subject)):
        if value is not None:
            equal = pc.field(column) == value
            wanted = equal if wanted is None else wanted & equal
    return wanted


def _list(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)
