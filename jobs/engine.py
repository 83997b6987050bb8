"""The Ray Data pipeline of a run: rows of the plan in, the status of each item out as its record is committed.

    rows -> EncodeWorker (actors) -> GenerateWorker (actors) -> publish (tasks) -> statuses

Resources are declared from the spec; nothing is probed on the driver. Knows Ray; never imports torch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

import dreamcache
from dreamcache.errors import DreamCacheError
from jobs.cluster import join_cluster, told_by_worker
from jobs.planner import Plan
from jobs.spec import JobSpec, WorkerSpec
from workers.context import JobContext
from workers.tables import PLANNED

# A lost worker comes back and its batch is drawn again; a batch that kills its worker every time ends the run
# instead of repeating for ever, which is Ray Data's default.
MAX_RESTARTS = 5
MAX_TASK_RETRIES = 5


def make_images(
    spec: JobSpec, made_plan: Plan, rows: list[dict[str, Any]], address: str | None
) -> Iterator[str]:
    """Makes the images of plan rows that can run. Raises DreamCacheError when the run as a whole cannot go on."""
    import ray

    workers = spec.workers
    pools = (workers.encoders, workers.generators)
    join_cluster(
        address,
        cpus=sum(pool.count * pool.cpus for pool in pools) + workers.publishers.cpus,
        gpus=sum(pool.count * pool.gpus for pool in pools),
    )
    _set_up_ray_data()

    from workers.encode import EncodeWorker
    from workers.generate import GenerateWorker
    from workers.publish import publish

    context = _context(spec, made_plan)
    size = spec.workers.batch_size
    table = pa.Table.from_pylist(rows, schema=PLANNED)
    # One block a batch: an image is committed as soon as its batch is drawn, and a lost worker loses one batch.
    blocks = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    with warnings.catch_warnings():
        # Ray 2.64 will name the retry options; until then they go through **ray_remote_args.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_arrow(blocks)
        if spec.method == "dreamcache":  # the others have no features to cache
            dataset = dataset.map_batches(EncodeWorker, **_actors(spec.workers.encoders, context, size))
        dataset = dataset.map_batches(
            GenerateWorker, **_actors(spec.workers.generators, context, size)
        ).map_batches(
            publish,
            fn_kwargs={"context": context},
            batch_size=size,
            batch_format="pyarrow",
            num_cpus=spec.workers.publishers.cpus,
            max_retries=MAX_TASK_RETRIES,
            compute=ray.data.TaskPoolStrategy(size=min(spec.workers.publishers.count, len(blocks))),
        )
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch["status"].to_pylist()
    except ray.exceptions.RayError as error:
        raise _as_ours(error) from error


def _as_ours(error: Exception) -> DreamCacheError:
    told = told_by_worker(error)
    if told is not None:
        return DreamCacheError(f"{told}; the same command goes on from here", code="worker_error")
    return DreamCacheError(
        f"a worker was lost {MAX_RESTARTS + 1} times or raised: {type(error).__name__}: "
        f"{str(error).strip().splitlines()[-1][:300]}; what is done is kept, the same command goes on from here; if it "
        f"ends so again, see Ray's logs and lower workers.batch_size",
        code="worker_lost",
    )


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
        "max_restarts": MAX_RESTARTS,
        "max_task_retries": MAX_TASK_RETRIES,
    }


def _set_up_ray_data() -> None:
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
        method=spec.method,
        base=spec.model.base,
        revision=spec.model.revision,
        adapter=spec.model.adapter,
        base_fingerprint=made_plan.base.fingerprint,
        adapter_fingerprint=made_plan.adapter.fingerprint,
        dtype=spec.model.dtype,
        reference=made_plan.reference,
        generation=spec.generation,
        images=spec.images,
        limits=spec.limits,
        batch_size=spec.workers.batch_size,
        num_threads=max(1, int(spec.workers.generators.cpus)),
        provenance=provenance,
    )
