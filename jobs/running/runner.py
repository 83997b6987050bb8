"""Running a job: what the plan has and the ledger has not is made, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it goes on where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Any

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.core.records import Failed, Outcome
from dreamcache.inference.facts import trained_otherwise
from dreamcache.storage.compaction import compact
from dreamcache.storage.feature_cache import mark_cache
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.s3_client import patience
from jobs.output.folder import OutputFolder
from jobs.output.manifest import Counts
from jobs.output.publish_manifest import publish_manifest
from jobs.planning.planner import Plan, plan
from jobs.reconcile.prune import finish_prunes, prune_orphans, why_not
from jobs.reconcile.remaining import Recorded, Work, find_work
from jobs.running.budget import Budget, BudgetReached
from jobs.running.engine import make_images
from jobs.running.interrupt import interrupt_of, interruptible, interrupting_when
from jobs.running.progress import JobProgress
from jobs.running.status import RunStatus

RECORDS_PER_PART = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run ended. `counts` are of the whole plan, not of this run alone."""

    output: str
    counts: Counts
    made: int
    seconds: float
    gallery: str | None
    pruned: int = 0
    stopped: str | None = None
    """Which budget has stopped it, if any."""

    @property
    def exit_code(self) -> int:
        """0 all done, 3 finished with failed or blocked items, 4 stopped by a budget."""
        if self.stopped:
            return 4
        return 0 if self.counts.done == self.counts.total else 3

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "gallery": self.gallery,
            "made": self.made,
            "pruned": self.pruned,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
            "stopped": self.stopped,
            "total": self.counts.total,
            **asdict(self.counts),
        }


def run(
    spec: JobSpec,
    *,
    retry: Callable[[Outcome], bool] | None = None,
    gallery: bool = True,
    quiet: bool = False,
    address: str | None = None,
    prune: bool = False,
) -> Report:
    """Plans, makes what is missing, writes the manifest. retry: which failed or blocked records to try again.

    address: of a Ray cluster; None starts one here, or joins the one this process is in. prune: deletes images
    of items that are planned no more. Raises DreamCacheError when nothing can be run; single items never raise.
    """
    started = time.monotonic()
    with patience(0, spec.failures.storage_timeout_s):
        made_plan = plan(spec)
        spec = made_plan.spec
        folder = OutputFolder(spec.output)
        folder.claim(spec)
        mark_cache(spec.cache_uri)
        folder.write_plan(made_plan.files)
        ledger = Ledger(spec.output)
        num_pruned = finish_prunes(ledger) if prune else 0
        work = find_work(made_plan, ledger, retry)
        budget = Budget(spec.limits, (folder.read_json("status.json") or {}).get("spent"))
        status = RunStatus(spec.name, folder, budget, quiet)
        if note := trained_otherwise(spec, made_plan.facts.adapter):
            status.note(note)
    progress = JobProgress(work.num_pending, status.write, quiet)
    stopped: BudgetReached | KeyboardInterrupt | None = None
    # The storage has answered: from now on it is worth waiting for.
    with (
        patience(spec.failures.storage_patience_s, spec.failures.storage_timeout_s),
        interruptible() as check,
    ):
        try:
            with progress, interrupting_when(budget.reached):
                for count in _record_unable(work, ledger):
                    progress.add_unable(count)
                    check()
                made = _make_missing(work, ledger, budget, address=address, on_note=status.note, spec=spec)
                with closing(made):
                    for ended in made:
                        progress.add(ended)
                        check()
                if prune:
                    num_pruned += _prune(made_plan, ledger, status.note)
        except BaseException as error:
            stopped = error if isinstance(error, BudgetReached) else interrupt_of(error, check)
            if stopped is not None:
                stopped = budget.reached() or stopped
            with suppress(DreamCacheError):
                status.write(progress.as_dict(), "stopping" if stopped else "stopped")
            if stopped is None:
                raise
        try:
            # Stopped or not, the manifest is of the whole plan: what has no record is pending in it.
            counts, page = publish_manifest(made_plan, folder, gallery=gallery and stopped is None)
        except BaseException:
            with suppress(DreamCacheError):
                status.write(progress.as_dict(), "stopped")
            raise
        # Items under retry have a record already.
        is_cut_short = stopped is not None and bool(counts.pending or progress.left)
        state = "stopped" if is_cut_short else "finished"
        status.write({**progress.as_dict(), "counts": asdict(counts)}, state)
    if isinstance(stopped, KeyboardInterrupt):
        raise stopped
    return Report(
        output=spec.output,
        counts=counts,
        made=progress.counts["done"],
        seconds=time.monotonic() - started,
        gallery=page,
        pruned=num_pruned,
        stopped=str(stopped) if is_cut_short else None,
    )


def _prune(made_plan: Plan, ledger: Ledger, on_note: Callable[[str], None]) -> int:
    if reason := why_not(made_plan):
        on_note(reason)
        return 0
    return prune_orphans(made_plan, ledger)


def _make_missing(
    work: Work,
    ledger: Ledger,
    budget: Budget,
    *,
    spec: JobSpec,
    address: str | None,
    on_note: Callable[[str], None],
) -> Generator[str]:
    """Each item's status as its record is committed, a window of the plan after the other. Raises BudgetReached."""
    budget.check()
    left = budget.items_left(work.plan.num_items - work.num_pending + work.num_unable)
    for window in work.windows():
        rows = window.slice(0, left)
        if rows.num_rows:
            statuses = make_images(
                spec,
                work.plan,
                rows,
                unrecorded=Recorded(ledger).unrecorded,
                address=address,
                on_note=on_note,
                on_gpu_seconds=budget.on_gpu_seconds,
            )
            with closing(statuses):
                yield from statuses
            # Housekeeping: what is wrong with the storage, those who need it will say.
            with suppress(StorageError):
                compact(ledger)
        if left is not None:
            left -= rows.num_rows
            if rows.num_rows < window.num_rows:
                raise BudgetReached(f"limits.max_items ({spec.limits.max_items}) is reached")


def _record_unable(work: Work, ledger: Ledger) -> Iterator[int]:
    """Records what cannot run as failed; how many at a time."""
    for rows in work.unable():
        for start in range(0, rows.num_rows, RECORDS_PER_PART):
            some = rows.slice(start, RECORDS_PER_PART).select(["item_id", "code", "message", "attempts"])
            ledger.append([Failed(**{**row, "attempts": row["attempts"] + 1}) for row in some.to_pylist()])
        yield rows.num_rows
