"""Reading a job's outputs: the manifest as an Arrow table. Knows the output folder; needs no cluster and no torch."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.errors import SpecError, StorageError, did_you_mean
from jobs.output_folder import OutputFolder


def outputs(
    uri: str, *, status: str | None = None, subject: str | None = None, where: Mapping[str, str] | None = None
) -> pa.Table:
    """The manifest of the job at `uri` (a folder or s3:// URI), a row per planned item; `.to_pandas()` works.

    status: done, blocked, failed or pending; subject: one subject_id; where: {column: value}, as text, of any column.
    Raises StorageError before a run has ended, SpecError for an unknown column.
    """
    try:
        table = OutputFolder(uri).read_manifest()
    except FileNotFoundError as error:
        raise StorageError(
            f"output '{uri}': has no manifest.parquet; it is written when a run ends, see 'dreamcache status'",
            code="no_manifest",
        ) from error
    for column, value in (("status", status), ("subject_id", subject), *(where or {}).items()):
        if value is not None:
            check_column(column, table.column_names)
            table = table.filter(pc.equal(pc.cast(table[column], pa.string()), value))
    return table


def check_column(column: str, columns: list[str]) -> None:
    """Raises SpecError for a column that a manifest does not have."""
    if column not in columns:
        raise SpecError(
            f"--where {column}: the manifest has no such column{did_you_mean(column, columns)}; "
            f"it has {', '.join(columns)}"
        )
