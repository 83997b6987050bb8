"""Running a job: what the plan has and the ledger has not is made, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it goes on where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import dreamcache
from dreamcache.errors import DreamCacheError
from dreamcache.records import Failed, Outcome
from dreamcache.storage.feature_cache import mark_cache
from dreamcache.storage.ledger import Ledger
from jobs.engine import make_images
from jobs.interrupt import interruptible
from jobs.manifest import Counts, build_manifest, count
from jobs.output_folder import OutputFolder
from jobs.planner import Plan, plan
from jobs.progress import JobProgress
from jobs.publish_gallery import publish_gallery
from jobs.spec import JobSpec
from workers.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run ended. `counts` are of the whole plan, not of this run alone."""

    output: str
    counts: Counts
    made: int
    seconds: float
    gallery: str | None

    @property
    def exit_code(self) -> int:
        """0 all done, 3 finished with failed or blocked items."""
        return 0 if self.counts.done == self.counts.total else 3

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "gallery": self.gallery,
            "made": self.made,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
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

    telemetry = Telemetry(spec.output, "driver")

    def on_status(progress: dict[str, Any], state: str = "running") -> None:
        folder.write_status({"job": spec.name, "state": state, "this_run": progress, "updated_at": _now()})
        telemetry.left(progress["left"])

    progress = JobProgress(len(pending), on_status, quiet)
    try:
        with interruptible() as check, progress:
            _record_unable(ledger, unable)
            progress.add_unable(len(unable))
            if ready:
                for status in make_images(spec, made_plan, ready, address):
                    progress.add(status)
                    check()
    except BaseException:
        with suppress(DreamCacheError):
            on_status(progress.as_dict(), "stopped")
        raise
    counts, page = finish(spec, made_plan, folder, gallery)
    on_status({**progress.as_dict(), "counts": asdict(counts)}, "finished")
    return Report(
        output=spec.output,
        counts=counts,
        made=progress.counts["done"],
        seconds=time.monotonic() - started,
        gallery=page,
    )


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
