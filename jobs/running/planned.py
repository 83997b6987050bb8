"""What a run has to do, as events and records: the plan's numbers, and items that cannot run.

Knows work, ledger and event log; knows nothing of Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dreamcache.core.records import Failed
from dreamcache.storage.events import EventLog
from dreamcache.storage.ledger import Ledger
from jobs.reconcile.remaining import WINDOW_ROWS, Work

RECORDS_PER_PART = 1000


def record_planned(work: Work, record: EventLog) -> None:
    """What this run has to do."""
    facts: dict[str, Any] = {
        "items": work.plan.num_items,
        "subjects": work.plan.num_subjects,
        "to_do": work.num_pending,
    }
    facts |= {"cannot_run": work.num_unrunnable, "recorded": dict(work.recorded)}
    record.add("planned", plan=work.plan.fingerprint, **facts)
    record.line(f"planned {facts['items']} items of {facts['subjects']} subjects, {facts['to_do']} to do")


def record_unrunnable(work: Work, ledger: Ledger) -> Iterator[dict[str, int]]:
    """Records what cannot run as failed; yields how many of each code, a table at a time."""
    for rows in work.unrunnable():
        for start in range(0, rows.num_rows, RECORDS_PER_PART):
            part = rows.slice(start, RECORDS_PER_PART)
            some = part.select(["item_id", "code", "message", "attempts"]).to_pylist()
            subjects = dict(zip(part["item_id"].to_pylist(), part["subject_id"].to_pylist(), strict=True))
            ledger.append(
                [Failed(**{**row, "attempts": row["attempts"] + 1}) for row in some], subjects=subjects
            )
        if rows.num_rows:
            yield dict(Counter(rows["code"].to_pylist()))


def windows_of(work: Work, record: EventLog, items: int) -> Iterator[pa.Table]:
    """So many items, in plan order, a table a window, each as the run comes to it."""
    for window in work.windows(WINDOW_ROWS):
        rows = window.slice(0, items)
        items -= rows.num_rows
        record.add("window", items=rows.num_rows)
        yield rows
        if not items:
            return
