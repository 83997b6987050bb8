"""The Ray Data pipeline over rows of the plan. Builds it and sets Ray Data up; decides nothing about failures.

    rows -> EncodeWorker (actors) -> GenerateWorker (actors) -> publish (tasks) -> outcomes

Resources are declared from the spec; nothing is probed on the driver. Knows Ray; never imports torch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from typing import Any

import pyarrow as pa

from jobs.spec import JobSpec, WorkerSpec
from workers.context import JobContext
from workers.failures import FailurePolicy
from workers.watch import Watch

PUBLISH_RETRIES = 5


def run_pipeline(spec: JobSpec, context: JobContext, rows: pa.Table, book: Any) -> Generator[pa.Table]:
    """Makes the images of rows (PLANNED) once; yields a table of OUTCOMES as each batch is committed.

    Raises ray.exceptions.RayError when the pipeline as a whole is lost. Closing the iterator stops the workers.
    """
    import ray.data

    from workers.encode import EncodeWorker
    from workers.generate import GenerateWorker
    from workers.publish import publish

    set_up_ray_data()
    workers, size = spec.workers, spec.workers.batch_size
    # One block a batch: an image is committed as soon as its batch is drawn, and a lost worker loses one batch.
    blocks = [rows.slice(start, size) for start in range(0, rows.num_rows, size)]

    def actors(pool: WorkerSpec) -> dict[str, Any]:
        return {**_pool(pool, len(blocks)), **_worker(pool, context, spec.failures, book), "batch_size": size}

    with warnings.catch_warnings():
        # Ray 2.64 will name the retry options; until then they go through **ray_remote_args.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_arrow(blocks)
        if spec.method == "dreamcache":  # the others have no features to cache
            dataset = dataset.map_batches(EncodeWorker, **actors(workers.encoders))
        dataset = dataset.map_batches(GenerateWorker, **actors(workers.generators)).map_batches(
            publish,
            fn_kwargs={"context": context},
            batch_size=size,
            batch_format="pyarrow",
            num_cpus=workers.publishers.cpus,
            max_retries=PUBLISH_RETRIES,
            compute=ray.data.TaskPoolStrategy(size=min(workers.publishers.count, len(blocks))),
        )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _pool(pool: WorkerSpec, num_batches: int) -> dict[str, Any]:
    from ray.data import ActorPoolStrategy

    least, most = min(pool.count, num_batches), min(pool.max_count or pool.count, num_batches)
    # One batch in hand and one waiting: more would only wait behind a busy worker while another is idle.
    return {
        "compute": ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=2),
        "num_cpus": pool.cpus,
        "num_gpus": pool.gpus or None,
        "memory": pool.memory_bytes,
        "accelerator_type": pool.accelerator_type,
        "label_selector": dict(pool.label_selector) or None,
        "resources": dict(pool.resources) or None,
        "batch_format": "pyarrow",
    }


def _worker(pool: WorkerSpec, context: JobContext, policy: FailurePolicy, book: Any) -> dict[str, Any]:
    watch = Watch(book, policy, gpus=pool.gpus, memory_bytes=pool.memory_bytes)
    # Ray brings a lost worker back for ever, and its batch with it; AttemptBook says when it is enough.
    return {"fn_constructor_args": (context, watch), "max_restarts": -1, "max_task_retries": -1}


def set_up_ray_data() -> None:
    """Ray Data's settings of this process that a run relies on."""
    import ray.data

    # What Ray Data tells of its progress stays in its log file; ours is counted in images.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # an error reaches the user once, as ours
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    # A block is never dropped: a row's failure is a value, any other error ends the run, which can be repeated.
    data.max_errored_blocks = 0
    # Accelerators may take long to come, and a batch long to draw: neither is a reason to give up.
    data.execution_no_progress_timeout_s = -1
    data.execution_options.preserve_order = False
