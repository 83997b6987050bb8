"""Running a job: what the plan has and the ledger has not is made, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it goes on where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dreamcache.errors import DreamCacheError, StorageError
from dreamcache.records import Failed, Outcome
from dreamcache.storage.compaction import compact
from dreamcache.storage.feature_cache import mark_cache
from dreamcache.storage.ledger import Ledger
from jobs.engine import make_images
from jobs.interrupt import interruptible
from jobs.manifest import Counts
from jobs.output_folder import OutputFolder
from jobs.planner import plan
from jobs.progress import JobProgress
from jobs.prune import finish_prunes, prune_orphans
from jobs.publish_manifest import publish_manifest
from jobs.spec import JobSpec
from jobs.work import Recorded, find_work

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

    @property
    def exit_code(self) -> int:
        """0 all done, 3 finished with failed or blocked items."""
        return 0 if self.counts.done == self.counts.total else 3

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "gallery": self.gallery,
            "made": self.made,
            "pruned": self.pruned,
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
    prune: bool = False,
) -> Report:
    """Plans, makes what is missing, writes the manifest. retry: which failed or blocked records to try again.

    address: of a Ray cluster; None starts one here, or joins the one this process is in. prune: deletes images
    of items that are planned no more. Raises DreamCacheError when nothing can be run; single items never raise.
    """
    started = time.monotonic()
    made_plan = plan(spec)
    folder = OutputFolder(spec.output)
    folder.claim(spec)
    mark_cache(spec.cache_uri)
    folder.write_plan(made_plan.files)
    ledger = Ledger(spec.output)
    num_pruned = finish_prunes(ledger) if prune else 0
    work = find_work(made_plan, ledger, retry)

    def on_status(progress: dict[str, Any], state: str = "running") -> None:
        folder.write_status({"job": spec.name, "state": state, "this_run": progress, "updated_at": _now()})

    progress = JobProgress(work.num_pending, on_status, quiet)
    try:
        with interruptible() as check, progress:
            for rows in work.unable():
                _record_unable(ledger, rows)
                progress.add_unable(rows.num_rows)
                check()
            for rows in work.windows():
                unrecorded = Recorded(ledger).unrecorded
                for status in make_images(spec, made_plan, rows, unrecorded=unrecorded, address=address):
                    progress.add(status)
                    check()
                # Housekeeping: what is wrong with the storage, those who need it will say.
                with suppress(StorageError):
                    compact(ledger)
            if prune:
                num_pruned += prune_orphans(made_plan, ledger)
    except BaseException:
        with suppress(DreamCacheError):
            on_status(progress.as_dict(), "stopped")
        raise
    counts, page = publish_manifest(made_plan, folder, gallery=gallery)
    on_status({**progress.as_dict(), "counts": asdict(counts)}, "finished")
    return Report(
        output=spec.output,
        counts=counts,
        made=progress.counts["done"],
        seconds=time.monotonic() - started,
        gallery=page,
        pruned=num_pruned,
    )


def _record_unable(ledger: Ledger, rows: pa.Table) -> None:
    for start in range(0, rows.num_rows, RECORDS_PER_PART):
        some = rows.slice(start, RECORDS_PER_PART).select(["item_id", "code", "message", "attempts"])
        ledger.append([Failed(**{**row, "attempts": row["attempts"] + 1}) for row in some.to_pylist()])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
