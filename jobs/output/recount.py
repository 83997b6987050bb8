"""The counts of a lost run, from what its output holds: its status.json is some seconds behind its ledger.

    plan parts' item ids x ledger -> counts by status -> Status

Knows the output folder; knows nothing of Ray. Plans of more than MOST_ITEMS keep the counts of the last sign of life.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.ledger import Ledger, resolve_table
from dreamcache.storage.run_state import LOST, SeenRun
from dreamcache.storage.status import COUNTED, Status
from jobs.output.folder import OutputFolder

MOST_ITEMS = 1_000_000


def recounted(output: str, status: Status, outcome: SeenRun) -> Status:
    """The status of a lost job with the counts that plan and ledger give; any other as it is."""
    if outcome.state != LOST or status.kind != "job" or status.total > MOST_ITEMS:
        return status
    with suppress(DreamCacheError, OSError, pa.ArrowException, KeyError):
        return _recounted(output, status)
    return status  # damaged or gone: what was recorded last is the best there is


def _recounted(output: str, status: Status) -> Status:
    folder = OutputFolder(output)
    parts = [pa.BufferReader(folder.files.read(key)) for key in folder.plan_parts()]
    if not parts:
        return status
    planned = pa.concat_tables([pq.read_table(part, columns=["item_id"]) for part in parts])["item_id"]
    records = resolve_table(Ledger(output).scan())
    mine = records.filter(pc.is_in(records["item_id"], value_set=planned.combine_chunks()))
    ended = {one["values"]: one["counts"] for one in pc.value_counts(mine["status"]).to_pylist()}
    counts = {name: ended.get(name, 0) for name in COUNTED}
    return replace(status, total=len(planned), counts=counts)
