"""The manifest of a job whose run has not ended: stored plan parts joined with the ledger, as files of this machine.

    plan/part-* --copy_plan--> PlanFiles --+
    ledger/part-* (compacted and new) -----+--Join--> manifest.parquet in a temporary folder

The rows are those that the run would publish if it ended now. Memory holds a window of the plan and 20 bytes an item.
Knows the output folder; knows nothing of who reads the manifest.
"""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core.errors import StorageError
from dreamcache.storage.arrow import reading
from dreamcache.storage.arrow_values import check_values
from dreamcache.storage.ledger import Ledger
from jobs.output import attributes
from jobs.output.folder import OutputFolder
from jobs.output.manifest_files import ManifestFiles
from jobs.output.review_columns import ReviewColumns
from jobs.planning.plan_files import PlanFiles
from jobs.planning.plan_table import PLAN_SCHEMA
from jobs.reconcile.join import Join

NEEDED = ("item_id", "attributes")
"""Columns that every release has written."""
ROUNDS = 5


def write_live_manifest(folder: OutputFolder, place: Path) -> list[Path]:
    """Writes the manifest as of now into `place`; returns its files, in order.

    Raises StorageError `bad_part` for a damaged plan, `bad_ledger` for a damaged ledger, and `missing_part` when the
    plan is rewritten all the time.
    """
    files = copy_plan(folder)
    kinds = attributes.of_plan(files.tables(attributes.COLUMNS))
    written = ManifestFiles(kinds, folder.uri, place, reviews=ReviewColumns.of_output(folder.uri))
    with Join(files, Ledger(folder.uri).scan()) as join, written:
        for window in join.windows():
            written.add(window)
    return [written.manifest]


def copy_plan(folder: OutputFolder) -> PlanFiles:
    """The stored plan, on this machine. A plan that a starting run rewrites meanwhile is read again."""
    for _ in range(ROUNDS):
        version = folder.plan_version()
        files = PlanFiles(PLAN_SCHEMA, plain=("item_id", "seed"))
        try:
            for key in folder.plan_parts():
                files.append(_read_part(folder, key))
        except FileNotFoundError:
            continue  # the plan of another run has fewer parts
        files.close()
        if version == folder.plan_version():
            return files
    raise StorageError(
        f"{folder.at('plan')}: the plan must keep still while it is read, got another one {ROUNDS} times; "
        "wait until the run has started, then try again",
        code="missing_part",
    )


def _read_part(folder: OutputFolder, key: str) -> pa.Table:
    data = folder.files.read(key)
    with reading(folder.at(key), "a plan part", code="bad_part", remedy="'dreamcache run' writes it anew"):
        table = pq.read_table(io.BytesIO(data))
        missing = next((name for name in NEEDED if name not in table.column_names), None)
        if missing is not None:
            raise ValueError(f"column '{missing}' is missing")
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in PLAN_SCHEMA
        ]
        part = pa.table(columns, schema=PLAN_SCHEMA)
        check_values(part)
        return part
