"""Running a job: what the plan has and the ledger has not is generated, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it resumes where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.records import Failed, Outcome
from dreamcache.inference.facts import note_of
from dreamcache.provenance.marker import check_marks
from dreamcache.storage.feature_cache import mark_cache
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.s3_client import retrying
from dreamcache.storage.status import COUNTED
from jobs.output.claim import is_claimed_by
from jobs.output.folder import JOB_MARK, OutputFolder
from jobs.output.manifest import Counts
from jobs.output.publish_manifest import publish_manifest
from jobs.output.settings_file import add_settings
from jobs.planning import handover
from jobs.planning.planner import Plan, plan
from jobs.reconcile.prune import Unplannable, finish_prunes, prune_orphans
from jobs.reconcile.remaining import Work, find_work
from jobs.running.budget import Budget, BudgetReached
from jobs.running.claimed_run import INTERRUPTED, claimed_run, record_early_end
from jobs.running.interrupt import interrupt_of, interrupting_when
from jobs.running.missing import generate_missing
from jobs.running.progress import RunProgress
from jobs.running.report import Report
from jobs.running.status import RunStatus

RECORDS_PER_PART = 1000


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

    def generate(self, progress: RunProgress) -> Generator[str]:
        """What is missing; see `generate_missing`."""
        return generate_missing(
            self.work,
            self.ledger,
            self.budget,
            self.status,
            address=self.address,
            on_refused=self.on_refused,
            on_ready=progress.ready,
        )

    def publish(self, *, gallery: bool) -> tuple[Counts, str | None]:
        """Manifest and gallery."""
        return publish_manifest(self.work.plan, self.folder, gallery=gallery, on_note=self.status.note)

    def end(self, stopped: BaseException | None, counts: Counts) -> None:
        """The status's last word. stopped: what has ended the run before its end; counts: of the whole plan."""
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
    keep_approved: see `planner.plan`.
    handed_over: the folder of a plan that `submit` has made, which is used where it still holds.
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
    address = wishes.address
    job_plan, reason = _plan(spec, wishes)
    spec = job_plan.spec
    folder = OutputFolder(spec.output)
    status = stack.enter_context(
        claimed_run(
            folder.uri,
            "job",
            spec.name,
            claim=lambda: folder.claim(spec),
            address=address,
            quiet=wishes.quiet,
        )
    )
    if wishes.handed_over is not None:
        status.record.add("plan_handed_over", used=reason is None, reason=reason)
    mark_cache(spec.cache_uri)
    folder.write_plan(job_plan.files, job_plan.fingerprint)
    add_settings(folder, job_plan)
    ledger = Ledger(spec.output)
    num_finished_prunes = finish_prunes(ledger) if wishes.prune else 0
    budget = _budget(spec, status)
    for note in filter(None, (note_of(spec, job_plan.facts), *job_plan.notes)):
        status.note(note)
    return _Run(
        folder=folder,
        work=find_work(job_plan, ledger, wishes.retry),
        ledger=ledger,
        budget=budget,
        status=status,
        address=address,
        num_finished_prunes=num_finished_prunes,
    )


def _budget(spec: JobSpec, status: RunStatus) -> Budget:
    """What the job may still cost; the status and the metrics state it from now on."""
    budget = Budget(spec.limits, status.current.details.get("spent"))
    status.current_details = lambda: {"spent": budget.spent()}
    status.limits = {"hours": spec.limits.max_hours, "gpu_hours": spec.limits.max_gpu_hours}
    return budget


def _plan(spec: JobSpec, wishes: _Wishes) -> tuple[Plan, str | None]:
    """The plan, and why it is not the one that was handed over; None where it is."""
    try:
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
                record_early_end(spec.output, "job", spec.name, error, address=wishes.address)
        raise


def _work_off(
    this: _Run, progress: RunProgress, *, prune: bool
) -> tuple[BudgetReached | KeyboardInterrupt | None, int]:
    """(what has stopped the run before its end, images pruned). Raises what ends the run as an error."""
    num_pruned = this.num_finished_prunes
    check = this.status.check
    _record_planned(this)
    try:
        with progress, interrupting_when(this.budget.reached):
            for codes in _record_unrunnable(this.work, this.ledger):
                progress.add_unrunnable(sum(codes.values()))
                this.status.count_unrunnable(Counter(codes).elements())
                this.status.record.add("planning_failed", codes=codes)
                check()
            with closing(this.generate(progress)) as outcomes:
                for outcome in outcomes:
                    progress.add(outcome)
                    check()
            if prune:
                num_pruned += _prune(this.work.plan, this.ledger, this.status.note)
                this.status.record.add("pruned", images=num_pruned)
    except BaseException as error:
        stopped = error if isinstance(error, BudgetReached) else interrupt_of(error, check)
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


def _record_planned(this: _Run) -> None:
    """What this run has to do."""
    work = this.work
    facts: dict[str, Any] = {
        "items": work.plan.num_items,
        "subjects": work.plan.num_subjects,
        "to_do": work.num_pending,
    }
    facts |= {"cannot_run": work.num_unrunnable, "recorded": dict(work.recorded)}
    this.status.record.add("planned", plan=work.plan.fingerprint, **facts)
    this.status.record.line(
        f"planned {facts['items']} items of {facts['subjects']} subjects, {facts['to_do']} to do"
    )


def _record_unrunnable(work: Work, ledger: Ledger) -> Iterator[dict[str, int]]:
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
