"""The Ray Data pipeline over windows of the plan. Decides nothing about failures.

    windows -> EncodeWorker (actors) -> GenerateWorker (actors) -> publish (tasks) -> outcomes

There is one pipeline, and so one pool of workers with their models, for all windows; see `plan_source`.

Knows Ray; never imports torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Any

import pyarrow as pa

from dreamcache.core.config.job import WorkerSpec, WorkersSpec
from dreamcache.inference.facts import family_of_job
from jobs.planning.batches import batches_of
from jobs.running.ray_data import actor_options, set_up_ray_data
from jobs.running.windows import Windows
from workers.batches import unpacked
from workers.context import JobContext
from workers.guard import Watch

PUBLISH_RETRIES = 5


def run_pipeline(context: JobContext, windows: Windows, book: Any) -> Generator[pa.Table]:
    """Generates the images of the windows once; yields a table of OUTCOMES as each batch is committed.

    Raises ray.exceptions.RayError when the pipeline as a whole is lost. Closing the iterator stops the workers.
    """
    from jobs.running.plan_source import PlanSource
    from workers.encode import EncodeWorker
    from workers.generate import GenerateWorker
    from workers.publish import publish_block

    set_up_ray_data()
    spec, family = context.spec, family_of_job(context.spec)
    workers, size = spec.workers, spec.workers.batch_size
    # An image is committed as soon as its batch is generated, and a lost worker loses one batch.
    source = PlanSource(windows, partial(batches_of, size=size, per_image=family.per_image))

    def actors(pool: WorkerSpec, calls: int = 1) -> dict[str, Any]:
        options = actor_options(pool, source.num_batches, calls)
        return {**options, **_worker(pool, context, book), "batch_size": 1}

    with warnings.catch_warnings():
        # Ray 2.64 will name the retry options; until then they go through **ray_remote_args.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = source.dataset()
        if family.caches_features:
            dataset = dataset.map_batches(EncodeWorker, **actors(workers.encoders))
        calls = 2 if spec.overlaps_decoding else 1
        dataset = dataset.map_batches(GenerateWorker, **actors(workers.generators, calls)).map_batches(
            publish_block,  # type: ignore[arg-type]  # Ray names no Arrow tables among the types of a batch
            fn_kwargs={"context": context},
            **_publishers(workers, source.num_batches),
        )
    with closing(source):
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            windows.ended((outcomes := unpacked(block))["item_id"].to_pylist())
            source.feed()
            yield outcomes


def _publishers(workers: WorkersSpec, num_batches: int) -> dict[str, Any]:
    from ray.data import TaskPoolStrategy

    return {
        "batch_size": 1,
        "batch_format": "pyarrow",
        "num_cpus": workers.publishers.cpus,
        "max_retries": PUBLISH_RETRIES,
        "compute": TaskPoolStrategy(size=min(workers.most_publishers, num_batches)),
    }


def _worker(pool: WorkerSpec, context: JobContext, book: Any) -> dict[str, Any]:
    spec = context.spec
    watch = Watch(
        book,
        spec.failures,
        gpus=pool.gpus,
        memory_bytes=pool.memory_bytes,
        per_hour=spec.price.per_hour(gpus=pool.gpus, cpus=pool.cpus) if spec.price else 0.0,
        is_priced=spec.limits.has_money,
    )
    # Ray restarts a lost worker without limit, and its batch with it; AttemptBook sets the limit.
    return {"fn_constructor_args": (context, watch), "max_restarts": -1, "max_task_retries": -1}
