"""What remains to do of a plan, one window after the other.

    plan x ledger --find_work--> number of attempts of each row to run --windows--> tables of PLANNED, in plan order

Held for the whole run: four bytes an item. Knows plan, ledger and join; knows nothing of Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dreamcache.core.errors import StorageError
from dreamcache.core.records import Outcome
from dreamcache.storage.ledger import Ledger, from_row
from dreamcache.storage.photo_faults import ASKED_AGAIN
from jobs.planning.planner import Plan
from jobs.reconcile.join import Join, Window
from workers.tables import PLANNED

WINDOW_ROWS = 25_000
"""About two windows of a run are in memory."""
RECORDED = -1

Retry = Callable[[Outcome], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """attempts: of each plan row, the number so far, or RECORDED when there is nothing to do. num_unrunnable: of the
    rows to do, those that cannot run. recorded: rows with nothing to do, by how they ended."""

    plan: Plan
    attempts: NDArray[np.int32]
    num_unrunnable: int
    recorded: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_pending(self) -> int:
        return int((self.attempts != RECORDED).sum())

    def unrunnable(self) -> Iterator[pa.Table]:
        """Pending rows that cannot run, in PLANNED, with their codes."""
        if self.num_unrunnable:
            for table in self._pending():
                yield table.filter(pc.is_valid(table["code"]))

    def windows(self, rows: int = WINDOW_ROWS) -> Iterator[pa.Table]:
        """Pending rows that can run, in PLANNED and in plan order, at most `rows` at a time."""
        if self.num_pending == self.num_unrunnable:
            return
        waiting = PLANNED.empty_table()
        for table in self._pending():
            waiting = pa.concat_tables([waiting, table.filter(pc.is_null(table["code"]))])
            while waiting.num_rows >= rows:
                yield waiting.slice(0, rows).combine_chunks()
                waiting = waiting.slice(rows)
        if waiting.num_rows:
            yield waiting.combine_chunks()

    def _pending(self) -> Iterator[pa.Table]:
        start = 0
        columns = [name for name in PLANNED.names if name != "attempts"]
        for table in self.plan.files.tables(columns):
            attempts = self.attempts[start : start + table.num_rows]
            start += table.num_rows
            table = table.append_column("attempts", pa.array(attempts)).select(PLANNED.names)
            yield table.filter(pa.array(attempts != RECORDED))


def find_work(made_plan: Plan, ledger: Ledger, retry: Retry | None = None) -> Work:
    """Rows without a record, those whose failed or blocked record `retry` accepts, and those that failed because a
    storage did not answer (`ASKED_AGAIN`), which the same command tries again.

    Raises StorageError `prune_unfinished` when images of planned items are perhaps being deleted.
    """
    attempts = np.full(made_plan.num_items, RECORDED, dtype=np.int32)
    num_unrunnable = start = 0
    recorded: Counter[str] = Counter()
    void = ledger.pruned.limits()
    with Join(made_plan.files, ledger.scan()) as join:
        _check_prunes(ledger, join)
        for window in join.windows(["item_id", "code"]):
            mine = attempts[start : start + window.planned.num_rows]
            start += window.planned.num_rows
            _mark(window, mine, retry, void)
            can_not_run = pc.is_valid(window.planned["code"]).to_numpy()
            num_unrunnable += int(((mine != RECORDED) & can_not_run).sum())
            stands = window.records["status"].filter(pa.array(mine == RECORDED))
            recorded.update({one["values"]: one["counts"] for one in pc.value_counts(stands).to_pylist()})
    return Work(plan=made_plan, attempts=attempts, num_unrunnable=num_unrunnable, recorded=recorded)


def _mark(window: Window, attempts: NDArray[np.int32], retry: Retry | None, void: Mapping[str, int]) -> None:
    """Fills in the attempts of a window's rows that are to be done."""
    status = window.records["status"]
    new = pc.is_null(status).to_numpy()
    attempts[new] = 0
    if void:
        for row in np.flatnonzero(new):
            attempts[row] = void.get(window.planned["item_id"][int(row)].as_py(), 0)
    for row in np.flatnonzero(_storage_failed(window)):
        attempts[row] = window.records["attempts"][int(row)].as_py()
    if retry is not None:
        without_image = np.flatnonzero(pc.fill_null(pc.not_equal(status, "done"), False).to_numpy())
        records = window.records.take(pa.array(without_image)).to_pylist()
        for row, record in zip(without_image, records, strict=True):
            if retry(from_row(record)):
                attempts[row] = record["attempts"]


def _storage_failed(window: Window) -> NDArray[np.bool_]:
    """Rows that can run and whose photo could not be fetched; those that a plan cannot read have another id then."""
    failed = pc.and_(
        pc.equal(window.records["status"], "failed"),
        pc.is_in(window.records["code"], value_set=pa.array(ASKED_AGAIN)),
    )
    rows: NDArray[np.bool_] = pc.and_(
        pc.fill_null(failed, False), pc.is_null(window.planned["code"])
    ).to_numpy()
    return rows


def _check_prunes(ledger: Ledger, join: Join) -> None:
    for uri in ledger.pruned.unfinished():
        if join.index.has(ledger.pruned.read(uri)["item_id"]).any():
            raise StorageError(
                f"{uri}: the deletion of these images must have ended before they are generated again, got one that "
                "runs or was cut short; wait for it, or finish it with 'dreamcache run --prune'",
                code="prune_unfinished",
            )


class Recorded:
    """What the ledger has received since a window began; a repeated look is cheap, as no part is read twice."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known = {info.uri for info in ledger.parts()}

    def unrecorded(self, rows: pa.Table) -> pa.Table:
        """The rows of PLANNED that have no record of an attempt after those they count."""
        seen = set(self._known)
        recorded: set[str] = set()
        attempts = dict(zip(rows["item_id"].to_pylist(), rows["attempts"].to_pylist(), strict=True))
        for table in self._ledger.scan(seen):
            mine = table.filter(pc.is_in(table["item_id"], value_set=rows["item_id"].combine_chunks()))
            for item_id, status, attempt in zip(
                *(mine[n].to_pylist() for n in ("item_id", "status", "attempts")), strict=True
            ):
                if status == "done" or attempt > attempts[item_id]:
                    recorded.add(item_id)
        return rows.filter(
            pc.invert(pc.is_in(rows["item_id"], value_set=pa.array(sorted(recorded), pa.string())))
        )
