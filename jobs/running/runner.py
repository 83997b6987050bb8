"""Running a job: what the plan has and the ledger has not is generated, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it resumes where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.records import Outcome
from dreamcache.inference.facts import note_of
from dreamcache.provenance.marker import check_marks
from dreamcache.storage.feature_cache import mark_cache
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.retry_budget import retrying
from dreamcache.storage.status import COUNTED
from jobs.output.claim import is_claimed_by
from jobs.output.folder import JOB_MARK, OutputFolder
from jobs.output.manifest import Counts
from jobs.output.publish_manifest import publish_manifest
from jobs.output.settings_file import add_settings
from jobs.planning import handover
from jobs.planning.planner import Plan, plan
from jobs.reconcile.prune import Unplannable, finish_prunes, prune_orphans
from jobs.reconcile.remaining import WINDOW_ROWS, Recorded, Work, find_work
from jobs.running.budget import Budget, BudgetReached, limit_of
from jobs.running.claimed_run import INTERRUPTED, claimed_run, record_early_end
from jobs.running.compacting import compacting
from jobs.running.engine import generate_images
from jobs.running.finish import Finish
from jobs.running.interrupt import interrupt_of, interrupting_when
from jobs.running.money import job_budget, release, spend_limit
from jobs.running.planned import record_planned, record_unrunnable, windows_of
from jobs.running.progress import RunProgress
from jobs.running.report import Report
from jobs.running.status import RunStatus
from jobs.running.windows import Windows
from jobs.running.worker_events import WorkerEvent

CALM = ("batch", "times", "worker_ended")
"""Events of workers that nobody waits for: they are written a few minutes later, many at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wishes:
    """What the user asks of a run beside its job; see `run`."""

    retry: Callable[[Outcome], bool] | None
    quiet: bool
    address: str | None
    prune: bool
    keep_approved: bool
    handed_over: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What one run works on. num_finished_prunes: images of an earlier prune that was interrupted.

    refused: what was wrong with cached features that were not used, by their cache key; filled while it runs.
    """

    folder: OutputFolder
    work: Work
    ledger: Ledger
    budget: Budget
    status: RunStatus
    address: str | None
    num_finished_prunes: int
    refused: dict[str, str] = field(default_factory=dict)

    def publish(self, *, gallery: bool) -> tuple[Counts, str | None]:
        """Manifest and gallery."""
        return publish_manifest(
            self.work.plan, self.folder, gallery=gallery, on_note=self.status.note, spent=self.budget.cost
        )

    def end(self, stopped: BaseException | None, counts: Counts) -> None:
        """The status's last word. stopped: what has ended the run before its end; counts: of the whole plan."""
        release(self.spec, self.budget)
        self.status.update(total=counts.total, counts={name: getattr(counts, name) for name in COUNTED})
        self.status.end(
            "finished" if stopped is None else "stopped",
            None if stopped is None else str(stopped) or INTERRUPTED,
            details={"plan_counts": asdict(counts), "encoded_again": len(self.refused)},
        )

    def on_refused(self, refused: Mapping[str, str]) -> None:
        """Cached features that workers did not use: the first is reported, all are counted."""
        if refused and not self.refused:
            self.status.note(f"cached features were not used: {next(iter(refused.values()))}")
        self.refused.update(refused)

    @property
    def spec(self) -> JobSpec:
        return self.work.plan.spec


def run(
    spec: JobSpec,
    *,
    retry: Callable[[Outcome], bool] | None = None,
    gallery: bool = True,
    quiet: bool = False,
    address: str | None = None,
    prune: bool = False,
    keep_approved: bool = False,
    handed_over: Path | None = None,
) -> Report:
    """Plans, generates what is missing, writes the manifest. retry: which failed or blocked records to try again.

    address: of a cluster; None starts one, or joins this process's. prune: deletes images of items planned no more.
    keep_approved: see `planner.plan`. handed_over: the folder of a plan that `submit` made, used where it still holds.
    Raises DreamCacheError when nothing can be run; single items never raise.
    """
    wishes = _Wishes(
        retry=retry,
        quiet=quiet,
        address=address,
        prune=prune,
        keep_approved=keep_approved,
        handed_over=handed_over,
    )
    return _run(spec, wishes, gallery=gallery)


def _run(spec: JobSpec, wishes: _Wishes, *, gallery: bool) -> Report:
    started, policy = time.monotonic(), spec.failures
    with ExitStack() as stack:
        with retrying(0, policy.storage_timeout_s):
            this = _prepare(spec, stack, wishes)
        # The storage has answered: from now on it is worth waiting for.
        with retrying(policy.storage_patience_s, policy.storage_timeout_s):
            progress = RunProgress(this.status, this.work.num_pending, before=this.work.recorded)
            stopped, num_pruned = _work_off(this, progress, prune=wishes.prune)
            # Stopped or not, the manifest is of the whole plan: what has no record is pending in it.
            counts, page = this.publish(gallery=gallery and stopped is None)
            # Items under retry have a record already.
            is_cut_short = stopped is not None and bool(counts.pending or progress.remaining)
            this.end(stopped if is_cut_short else None, counts)
        if isinstance(stopped, KeyboardInterrupt):
            raise stopped
    return Report(
        output=spec.output,
        counts=counts,
        generated=progress.counts["done"],
        seconds=time.monotonic() - started,
        gallery=page,
        pruned=num_pruned,
        encoded_again=len(this.refused),
        stopped=str(stopped) if is_cut_short else None,
    )


def _prepare(spec: JobSpec, stack: ExitStack, wishes: _Wishes) -> _Run:
    """Plans, claims the folder until the stack is closed, and finds what is to be done."""
    job_plan, reason = _plan(spec, wishes)
    spec = job_plan.spec
    folder = OutputFolder(spec.output)
    status = stack.enter_context(
        claimed_run(
            folder.uri,
            "job",
            spec.name,
            claim=lambda: folder.claim(spec),
            address=wishes.address,
            quiet=wishes.quiet,
        )
    )
    status.on_end = Finish(spec, status.note).begin()
    if wishes.handed_over is not None:
        status.record.add("plan_handed_over", used=reason is None, reason=reason)
    mark_cache(spec.cache_uri)
    folder.write_plan(job_plan.files, job_plan.fingerprint)
    add_settings(folder, job_plan)
    ledger = Ledger(spec.output)
    num_finished_prunes = finish_prunes(ledger) if wishes.prune else 0
    budget = job_budget(spec, status)
    for note in filter(None, (note_of(spec, job_plan.facts), *job_plan.notes)):
        status.note(note)
    return _Run(
        folder=folder,
        work=find_work(job_plan, ledger, wishes.retry),
        ledger=ledger,
        budget=budget,
        status=status,
        address=wishes.address,
        num_finished_prunes=num_finished_prunes,
    )


def _plan(spec: JobSpec, wishes: _Wishes) -> tuple[Plan, str | None]:
    """The plan, and why it is not the one that was handed over; None where it is."""
    try:
        Finish(spec).check()
        # Verdicts change a plan that keeps to them; `submit` has planned without.
        handed: Plan | str = "the run keeps to verdicts"
        if wishes.handed_over is not None and not wishes.keep_approved:
            handed = handover.read(wishes.handed_over, spec)
        job_plan = plan(spec, keep_approved=wishes.keep_approved) if isinstance(handed, str) else handed
        check_marks(job_plan.spec)
        return job_plan, handed if isinstance(handed, str) else None
    except Exception as error:
        # The error that is raised matters more than what cannot be recorded of it.
        with suppress(DreamCacheError, OSError):
            if is_claimed_by(spec.output, "job.yaml", name=spec.name, mark=JOB_MARK):
                on_end, address = Finish(spec).end, wishes.address
                record_early_end(spec.output, "job", spec.name, error, address=address, on_end=on_end)
        raise


def _work_off(
    this: _Run, progress: RunProgress, *, prune: bool
) -> tuple[BudgetReached | KeyboardInterrupt | None, int]:
    """(what has stopped the run before its end, images pruned). Raises what ends the run as an error."""
    num_pruned = this.num_finished_prunes
    check = this.status.check
    record_planned(this.work, this.status.record)
    try:
        with progress, interrupting_when(this.budget.reached):
            for codes in record_unrunnable(this.work, this.ledger):
                progress.add_unrunnable(sum(codes.values()))
                this.status.count_unrunnable(Counter(codes).elements())
                this.status.record.add("planning_failed", codes=codes)
                check()
            with closing(_generate_missing(this, progress)) as outcomes:
                for outcome in outcomes:
                    progress.add(outcome)
                    this.budget.on_outcome()
                    check()
            if prune:
                num_pruned += _prune(this.work.plan, this.ledger, this.status.note)
                this.status.record.add("pruned", images=num_pruned)
    except BaseException as error:
        stopped = limit_of(error, this.budget) or interrupt_of(error, check)
        if stopped is None:
            raise
        with suppress(DreamCacheError):
            this.status.write(state="stopping")
        return this.budget.reached() or stopped, num_pruned
    return None, num_pruned


def _prune(job_plan: Plan, ledger: Ledger, on_note: Callable[[str], None]) -> int:
    unplannable = Unplannable(job_plan)
    num_pruned = prune_orphans(job_plan, ledger, unplannable)
    if unplannable.note:
        on_note(unplannable.note)
    return num_pruned


def _generate_missing(this: _Run, progress: RunProgress) -> Generator[str]:
    """Each item's status as its record is committed. Raises BudgetReached."""
    spec, work, budget = this.spec, this.work, this.budget
    budget.check()
    runnable = work.num_pending - work.num_unrunnable
    allowed = budget.items_left(work.plan.num_items - work.num_pending + work.num_unrunnable)
    items = runnable if allowed is None else min(runnable, allowed)
    if items:
        statuses = generate_images(
            spec,
            work.plan,
            Windows(
                windows_of(work, this.status.record, items),
                items,
                window_rows=WINDOW_ROWS,
                look=lambda: Recorded(this.ledger).unrecorded,
            ),
            address=this.address,
            on_note=this.status.note,
            on_gpu_seconds=budget.on_gpu_seconds,
            on_refused=this.on_refused,
            on_worker=partial(_on_worker, this, progress),
            on_cost=budget.on_cost,
            limit=spend_limit(spec, budget, this.ledger),
        )
        with compacting(this.ledger), closing(statuses):
            yield from statuses
    if items < runnable:
        raise BudgetReached(f"limits.max_items ({spec.limits.max_items}) is reached")


def _on_worker(this: _Run, progress: RunProgress, event: WorkerEvent) -> None:
    """An event of the attempt book's goes into the record; the first generator that is ready ends the start-up."""
    facts = {name: value for name, value in event.items() if name not in ("number", "at", "event")}
    this.status.record.add(event["event"], at=event["at"], urgent=event["event"] not in CALM, **facts)
    if event["event"] == "worker_ready" and event.get("kind") == "generator":
        progress.ready()
    if event["event"] == "budget_exhausted":
        this.budget.exhaust()
