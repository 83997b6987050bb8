"""Running a job: what the plan has and the ledger has not is made, then the manifest is written.

    plan - ledger -> encode (actors) -> generate (actors) -> publish (tasks) -> counts; ledger -> manifest

Running again is the same command: it goes on where the ledger ends. Never imports torch.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa

import dreamcache
from dreamcache.errors import DreamCacheError
from dreamcache.records import Failed, Outcome
from dreamcache.storage.ledger import Ledger
from jobs.manifest import Counts, build_manifest, count
from jobs.output_folder import OutputFolder
from jobs.planner import Plan, plan
from jobs.progress import JobProgress
from jobs.publish_gallery import publish_gallery
from jobs.spec import JobSpec, WorkerSpec
from workers.context import JobContext
from workers.tables import PLANNED


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
    folder.write_plan(made_plan.table)
    ledger = Ledger(spec.output)
    before = ledger.outcomes()
    pending = pending_rows(made_plan, before, retry or (lambda outcome: False))
    unable = [row for row in pending if row["code"] is not None]
    ready = [row for row in pending if row["code"] is None]

    def on_status(progress: dict[str, Any], state: str = "running") -> None:
        folder.write_status({"job": spec.name, "state": state, "this_run": progress, "updated_at": _now()})

    progress = JobProgress(len(pending), on_status, quiet)
    try:
        with progress:
            _record_unable(ledger, unable)
            progress.add_unable(len(unable))
            if ready:
                for status in _statuses(spec, made_plan, ready, address):
                    progress.add(status)
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


def _statuses(
    spec: JobSpec, made_plan: Plan, rows: list[dict[str, Any]], address: str | None
) -> Iterator[str]:
    """Runs the pipeline; yields the status of each item as its record is committed."""
    import ray

    from workers.encode import EncodeWorker
    from workers.generate import GenerateWorker
    from workers.publish import publish

    _start_ray(address, spec)
    context = _context(spec, made_plan)
    size = spec.workers.batch_size
    table = pa.Table.from_pylist(rows, schema=PLANNED)
    # One block a batch: an image is committed as soon as its batch is drawn, and a lost worker loses one batch.
    blocks = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    dataset = (
        ray.data.from_arrow(blocks)
        .map_batches(EncodeWorker, **_actors(spec.workers.encoders, context, size))
        .map_batches(GenerateWorker, **_actors(spec.workers.generators, context, size))
        .map_batches(
            publish,
            fn_kwargs={"context": context},
            batch_size=size,
            batch_format="pyarrow",
            num_cpus=spec.workers.publishers.cpus,
            compute=ray.data.TaskPoolStrategy(size=min(spec.workers.publishers.count, len(blocks))),
        )
    )
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch["status"].to_pylist()
    except ray.exceptions.RayError as error:
        told = re.fullmatch(r"dreamcache\.[\w.]+Error: (.+)", str(error).strip().splitlines()[-1])
        if told is None:
            raise
        # A worker's message to the user, which Ray hands over as the last line of tracebacks.
        raise DreamCacheError(
            f"{told[1]}; the same command goes on from here", code="worker_error"
        ) from error


def _actors(workers: WorkerSpec, context: JobContext, batch_size: int) -> dict[str, Any]:
    from ray.data import ActorPoolStrategy

    return {
        "fn_constructor_args": (context,),
        "compute": ActorPoolStrategy(size=workers.count),
        "batch_size": batch_size,
        "batch_format": "pyarrow",
        "num_cpus": workers.cpus,
        "num_gpus": workers.gpus or None,
        "memory": workers.memory_bytes,
    }


def _start_ray(address: str | None, spec: JobSpec) -> None:
    import ray
    import ray.data

    # No usage report leaves the cluster unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray Data tells of its progress stays in its log file; ours is counted in images.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # an error reaches the user once, as ours
    if not ray.is_initialized():
        # "local", since without it Ray would join any cluster that someone has started on this machine.
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        # Here, unlike on a cluster, the job must find room however few cores there are.
        cpus = {"num_cpus": max(os.cpu_count() or 1, _declared_cpus(spec))} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False, **cpus)
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    # A block is never dropped: a row's failure is a value, any other error ends the run, which can be repeated.
    data.max_errored_blocks = 0
    data.execution_options.preserve_order = False


def _declared_cpus(spec: JobSpec) -> int:
    workers = spec.workers
    pools = (
        workers.encoders.count * workers.encoders.cpus + workers.generators.count * workers.generators.cpus
    )
    return math.ceil(pools + workers.publishers.cpus)


def _context(spec: JobSpec, made_plan: Plan) -> JobContext:
    provenance = {
        "base": f"{made_plan.base.name}@{made_plan.base.fingerprint[:12]}",
        "adapter": made_plan.adapter.fingerprint[:12],
        "dreamcache": dreamcache.__version__,
        "settings": str(spec.generation.as_dict()),
    }
    return JobContext(
        output=spec.output,
        cache=spec.cache_uri,
        base=spec.model.base,
        revision=spec.model.revision,
        adapter=spec.model.adapter,
        base_fingerprint=made_plan.base.fingerprint,
        dtype=spec.model.dtype,
        reference=made_plan.reference,
        generation=spec.generation,
        images=spec.images,
        limits=spec.limits,
        batch_size=spec.workers.batch_size,
        num_threads=max(1, int(spec.workers.generators.cpus)),
        provenance=provenance,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
