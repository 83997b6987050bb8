"""What a run generates: the windows of what remains of the plan, within the budget, with the ledger compacted beside.

    Work --(at most the items that the budget allows)--> Windows --> generate_images --> statuses

Knows work, budget and record of one run; knows nothing of its start and its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial

import pyarrow as pa

from dreamcache.storage.events import EventLog
from dreamcache.storage.ledger import Ledger
from jobs.reconcile.remaining import WINDOW_ROWS, Recorded, Work
from jobs.running.budget import Budget, BudgetReached
from jobs.running.compacting import compacting
from jobs.running.engine import generate_images
from jobs.running.status import RunStatus
from jobs.running.windows import Windows
from jobs.running.worker_events import WorkerEvent

CALM = ("batch", "times")
"""Events of workers that nobody waits for: they are written a few minutes later, many at once."""


def generate_missing(
    work: Work,
    ledger: Ledger,
    budget: Budget,
    status: RunStatus,
    *,
    address: str | None,
    on_refused: Callable[[Mapping[str, str]], None],
    on_ready: Callable[[], None],
) -> Generator[str]:
    """Each item's status as its record is committed. on_ready: the first generator is ready; called from another
    thread. Raises BudgetReached."""
    budget.check()
    runnable = work.num_pending - work.num_unrunnable
    allowed = budget.items_left(work.plan.num_items - work.num_pending + work.num_unrunnable)
    items = runnable if allowed is None else min(runnable, allowed)
    if items:
        tables = _windows(work, items, status.record)
        statuses = generate_images(
            work.plan.spec,
            work.plan,
            Windows(tables, items, window_rows=WINDOW_ROWS, look=lambda: Recorded(ledger).unrecorded),
            address=address,
            on_note=status.note,
            on_gpu_seconds=budget.on_gpu_seconds,
            on_refused=on_refused,
            on_worker=partial(_on_worker, status.record, on_ready),
        )
        with compacting(ledger), closing(statuses):
            yield from statuses
    if items < runnable:
        raise BudgetReached(f"limits.max_items ({work.plan.spec.limits.max_items}) is reached")


def _windows(work: Work, items: int, record: EventLog) -> Iterator[pa.Table]:
    """So many items, in plan order, a table a window, each as the run comes to it."""
    for window in work.windows(WINDOW_ROWS):
        rows = window.slice(0, items)
        items -= rows.num_rows
        record.add("window", items=rows.num_rows)
        yield rows
        if not items:
            return


def _on_worker(record: EventLog, on_ready: Callable[[], None], event: WorkerEvent) -> None:
    """An event of the attempt book's goes into the record; the first generator that is ready ends the start-up."""
    facts = {name: value for name, value in event.items() if name not in ("number", "at", "event")}
    record.add(event["event"], at=event["at"], urgent=event["event"] not in CALM, **facts)
    if event["event"] == "worker_ready" and event.get("kind") == "generator":
        on_ready()
