"""Running a job: what the plan has and the ledger has not is made, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it goes on where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import dreamcache
from dreamcache.errors import DreamCacheError
from dreamcache.records import Failed, Outcome
from dreamcache.storage.feature_cache import mark_cache
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.s3_client import be_patient
from jobs.budget import Budget, BudgetReached
from jobs.engine import make_images
from jobs.interrupt import interruptible
from jobs.manifest import Counts, build_manifest, count
from jobs.output_folder import OutputFolder
from jobs.planner import Plan, plan
from jobs.progress import JobProgress
from jobs.publish_gallery import publish_gallery
from jobs.spec import JobSpec
from workers.tables import PLANNED


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run ended. `counts` are of the whole plan, not of this run alone."""

    output: str
    counts: Counts
    made: int
    seconds: float
    gallery: str | None
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
) -> Report:
    """Plans, makes what is missing, writes the manifest. retry: which failed or blocked records to try again.

    address: of a Ray cluster; None starts one here, or joins the one this process is in. Raises
    DreamCacheError when nothing can be run; single items never raise.
    """
    started = time.monotonic()
    made_plan = plan(spec)
    folder = OutputFolder(spec.output)
    folder.claim(spec)
    mark_cache(spec.cache_uri)
    folder.write_plan(made_plan.table)
    ledger = Ledger(spec.output)
    before = ledger.outcomes()
    pending = pending_rows(made_plan, before, retry or (lambda outcome: False))
    unable = [row for row in pending if row["code"] is not None]
    ready = [row for row in pending if row["code"] is None]
    budget = Budget(spec.limits, (folder.read_json("status.json") or {}).get("spent"))
    notes: list[str] = []

    def on_status(progress: dict[str, Any], state: str = "running") -> None:
        status = {"job": spec.name, "state": state, "this_run": progress, "updated_at": _now()}
        folder.write_status({**status, "spent": budget.spent(), "notes": notes})

    def on_note(text: str) -> None:
        notes.append(text)
        if not quiet:
            print(f"note: {text}", file=sys.stderr, flush=True)

    progress = JobProgress(len(pending), on_status, quiet)
    stopped: BudgetReached | KeyboardInterrupt | None = None
    be_patient(
        spec.failures.storage_patience_s
    )  # the storage has answered: from now on it is worth waiting for
    with interruptible() as check:
        try:
            with progress:
                _record_unable(ledger, unable)
                progress.add_unable(len(unable))
                budget.check()
                rows = ready[: budget.items_left(len(before) + len(unable))]
                if rows:
                    statuses = make_images(
                        spec,
                        made_plan,
                        pa.Table.from_pylist(rows, schema=PLANNED),
                        unrecorded=lambda table: unrecorded(ledger, table),
                        address=address,
                        on_note=on_note,
                        on_gpu_seconds=budget.on_gpu_seconds,
                    )
                    with closing(statuses):
                        for status in statuses:
                            progress.add(status)
                            check()
                if len(rows) < len(ready):
                    raise BudgetReached(f"limits.max_items ({spec.limits.max_items}) is reached")
        except (BudgetReached, KeyboardInterrupt) as error:
            stopped = error
            on_status(progress.as_dict(), "stopping")
        except BaseException:
            with suppress(DreamCacheError):
                on_status(progress.as_dict(), "stopped")
            raise
        # Stopped or not, the manifest is of the whole plan: what has no record is pending in it.
        counts, page = finish(spec, made_plan, folder, gallery and stopped is None)
        state = "stopped" if stopped and counts.pending else "finished"
        on_status({**progress.as_dict(), "counts": asdict(counts)}, state)
    if isinstance(stopped, KeyboardInterrupt):
        raise stopped
    return Report(
        output=spec.output,
        counts=counts,
        made=progress.counts["done"],
        seconds=time.monotonic() - started,
        gallery=page,
        stopped=str(stopped) if stopped and counts.pending else None,
    )


def unrecorded(ledger: Ledger, rows: pa.Table) -> pa.Table:
    """Those of the rows (PLANNED) that have no terminal record now."""
    recorded = pa.array(list(ledger.outcomes()), pa.string())
    return rows.filter(pc.invert(pc.is_in(rows["item_id"], recorded)))


def pending_rows(
    made_plan: Plan, outcomes: Mapping[str, Outcome], retry: Callable[[Outcome], bool]
) -> list[dict[str, Any]]:
    """Plan rows without a record, or whose record is to be tried again, with the attempts made so far."""
    rows = []
    for row in made_plan.table.to_pylist():
        outcome = outcomes.get(row["item_id"])
        if outcome is None or (outcome.status != "done" and retry(outcome)):
            row["attempts"] = outcome.attempts if outcome is not None else 0
            rows.append(row)
    return rows


def finish(spec: JobSpec, made_plan: Plan, folder: OutputFolder, gallery: bool) -> tuple[Counts, str | None]:
    """Writes failed.csv, the gallery and, last, the manifest, from what the ledger holds now."""
    outcomes = Ledger(spec.output).outcomes()
    counts = count(made_plan.table["item_id"].to_pylist(), outcomes)
    manifest = build_manifest(made_plan.table, outcomes, spec.output)
    folder.write_failed(manifest)
    page = publish_gallery(spec.name, manifest, folder) if gallery else None
    summary = {
        "job": spec.name,
        "plan": made_plan.fingerprint,
        "counts": asdict(counts),
        "base": {"name": made_plan.base.name, "fingerprint": made_plan.base.fingerprint},
        "adapter": {"fingerprint": made_plan.adapter.fingerprint, "step": made_plan.adapter.step},
        "versions": versions(),
        "written_at": _now(),
    }
    folder.write_manifest(manifest, summary)
    return counts, page


def versions() -> dict[str, str]:
    """Of what decides pixels, for the record."""
    names = ("torch", "diffusers", "transformers", "ray")
    return {"dreamcache": dreamcache.__version__, **{name: version(name) for name in names}}


def _record_unable(ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    failed = [
        Failed(item_id=row["item_id"], code=row["code"], message=row["message"], attempts=row["attempts"] + 1)
        for row in rows
    ]
    for start in range(0, len(failed), 1000):
        ledger.append(failed[start : start + 1000])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
