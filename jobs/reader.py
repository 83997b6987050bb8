"""Reading a job's outputs: the manifest as an Arrow table. Knows the output folder; needs no cluster and no torch."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.errors import StorageError
from jobs.output_folder import OutputFolder


def outputs(uri: str, *, status: str | None = None, subject: str | None = None) -> pa.Table:
    """The manifest of the job at `uri` (a folder or s3:// URI), a row per planned item; `.to_pandas()` works.

    status: done, blocked, failed or pending; subject: one subject_id. Raises StorageError before a run has ended.
    """
    try:
        table = OutputFolder(uri).read_manifest()
    except FileNotFoundError as error:
        raise StorageError(
            f"output '{uri}': has no manifest.parquet; it is written when a run ends, see 'dreamcache status'",
            code="no_manifest",
        ) from error
    for column, value in (("status", status), ("subject_id", subject)):
        if value is not None:
            table = table.filter(pc.equal(table[column], value))
    return table
