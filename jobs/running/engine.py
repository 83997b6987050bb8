"""All images of a run, whatever happens to workers and nodes meanwhile.

    windows -> pipeline -> statuses;   the pipeline is lost -> a pause -> what has no record yet -> pipeline again

A worker that dies is Ray's to bring back and `workers.attempts`' to judge; here is what follows when the pipeline as
a whole is lost. Knows Ray's errors; never imports torch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any

import pyarrow as pa

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.inference.facts import family_of_job
from jobs.cluster.capacity import misfits, ray_nodes
from jobs.cluster.ray_cluster import join_cluster, worker_error
from jobs.planning.planner import Plan
from jobs.running.pipeline import run_pipeline
from jobs.running.ray_data import beside_the_driver
from jobs.running.rounds import PIPELINE_LOST, CostMeter, run_rounds
from jobs.running.stall import StallNotice
from jobs.running.windows import Windows
from jobs.running.worker_events import WorkerEvent, WorkerEvents
from workers.context import JobContext
from workers.reserve import SpendLimit

LONGEST_PAUSE_S = 30.0


def generate_images(
    spec: JobSpec,
    made_plan: Plan,
    windows: Windows,
    *,
    address: str | None = None,
    on_note: Callable[[str], None] = lambda text: None,
    on_gpu_seconds: Callable[[float], None] = lambda seconds: None,
    on_refused: Callable[[Mapping[str, str]], None] = lambda refused: None,
    on_worker: Callable[[WorkerEvent], None] = lambda event: None,
    on_cost: Callable[[float], None] = lambda cost: None,
    limit: SpendLimit | None = None,
) -> Generator[str]:
    """Generates the images of the windows and yields each item's status as its record is committed.

    Items recorded after the last batch of a lost pipeline are not yielded. on_note: called with what the user should
    know, each thing once. on_gpu_seconds: with what the workers have cost since its last call. Both may raise, which
    stops the workers, as closing the iterator does. on_refused: at the end, see `AttemptBook.refused`; on_worker: from
    another thread, see `AttemptBook.events`. on_cost: likewise, money since its last call. limit: what may be spent.
    """
    import ray

    join_cluster(address, cpus=spec.workers.cpus, gpus=spec.workers.gpus)
    book = _open_book(spec, limit)
    missing, notes = _note_misfits(spec, on_note), set[str]()
    meter = CostMeter(lambda: float(ray.get(book.gpu_seconds.remote())), on_gpu_seconds)

    def run_once() -> Generator[pa.Table]:
        try:
            with (
                closing(run_pipeline(JobContext(spec=spec, facts=made_plan.facts), windows, book)) as batches,
                StallNotice(spec.failures.stall_notice_s, on_note, missing) as stall,
            ):
                for batch in batches:
                    stall.progressed()
                    _report_new(batch, notes, on_note)
                    yield batch
                    meter.read()
        except ray.exceptions.RayError as error:
            raise _as_ours(error) from error

    def on_lost(error: DreamCacheError, attempts_without_progress: int) -> None:
        on_note(f"{error}; running what has no record yet")
        _pause(attempts_without_progress)
        ray.get(book.settle.remote())

    batches = run_rounds(windows, run_once, max_rounds=spec.failures.max_rounds, on_lost=on_lost)
    with WorkerEvents(book, on_worker, on_cost), closing(batches):
        for batch in batches:
            yield from batch["status"].to_pylist()
        ray.get(book.report_times.remote())
    on_refused(ray.get(book.refused.remote()))


def _note_misfits(spec: JobSpec, on_note: Callable[[str], None]) -> Callable[[], list[str]]:
    """Notes what does not fit on the cluster's nodes, and returns a look at it for later."""

    def look() -> list[str]:
        return misfits(spec.workers, ray_nodes(), encodes=family_of_job(spec).caches_features)

    for text in look():
        on_note(f"{text}; the run waits for such a node")
    return look


def _pause(attempts_without_progress: int) -> None:
    time.sleep(random.uniform(0.2, 1) * min(LONGEST_PAUSE_S, 2.0**attempts_without_progress))


def _report_new(batch: pa.Table, notes: set[str], on_note: Callable[[str], None]) -> None:
    for note in set(batch["note"].drop_null().to_pylist()) - notes:
        notes.add(note)
        on_note(note)


def _as_ours(error: Exception) -> DreamCacheError:
    return worker_error(error, "the same command resumes from here") or DreamCacheError(
        f"the pipeline was lost: {type(error).__name__}: {str(error).strip().splitlines()[-1][:300]}; what is done is "
        f"kept, the same command resumes from here; if it ends so again, see Ray's logs",
        code=PIPELINE_LOST,
    )


def _open_book(spec: JobSpec, limit: SpendLimit | None) -> Any:
    """The attempt book, on the driver's own node: it is lost only with the run."""
    import ray

    from workers.attempts import AttemptBook

    options: dict[str, Any] = {**beside_the_driver(), "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(**options)(AttemptBook).remote(spec.failures, limit=limit)
