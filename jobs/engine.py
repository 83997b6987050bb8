"""The Ray Data pipeline of a run: rows of the plan in, the status of each item out as its record is committed.

    rows -> EncodeWorker (actors) -> GenerateWorker (actors) -> publish (tasks) -> statuses

Resources are declared from the spec; nothing is probed on the driver. Knows Ray; never imports torch.
"""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

import dreamcache
from dreamcache.errors import DreamCacheError
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
    start_ray(address, spec)
    import ray

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
                max_retries=MAX_TASK_RETRIES,
                compute=ray.data.TaskPoolStrategy(size=min(spec.workers.publishers.count, len(blocks))),
            )
        )
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch["status"].to_pylist()
    except ray.exceptions.RayError as error:
        raise _as_ours(error) from error


def _as_ours(error: Exception) -> DreamCacheError:
    """What a worker told the user, which Ray hands over as the last line of tracebacks, or that one was lost."""
    last = str(error).strip().splitlines()[-1]
    told = re.fullmatch(r"dreamcache\.[\w.]+Error: (.+)", last)
    if told is not None:
        return DreamCacheError(f"{told[1]}; the same command goes on from here", code="worker_error")
    return DreamCacheError(
        f"a worker was lost {MAX_RESTARTS + 1} times or raised: {type(error).__name__}: {last[:300]}; what is done "
        f"is kept, the same command goes on from here; if it ends so again, see Ray's logs and lower "
        f"workers.batch_size",
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


def start_ray(address: str | None, spec: JobSpec) -> None:
    """Joins the cluster at `address`, or the one this process is in, or starts one on this machine."""
    import ray
    import ray.data

    address = address or os.environ.get("RAY_ADDRESS")
    if address and address.startswith("ray://"):
        raise DreamCacheError(
            f"address '{address}': Ray Data does not run through Ray Client; give the address of the head's GCS "
            f"(host:6379), or run the command on the cluster as a Ray job",
            code="bad_address",
        )
    # No usage report leaves the cluster unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray Data tells of its progress stays in its log file; ours is counted in images.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # an error reaches the user once, as ours
    if not ray.is_initialized():
        # "local", since without it Ray would join any cluster that someone has started on this machine; and
        # here, unlike on a cluster, the job must find room however few cores there are.
        here = {"num_cpus": max(os.cpu_count() or 1, declared_cpus(spec))}
        options = {"address": address} if address else {"address": "local", **here}
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False, **options)
        if not address:
            _check_gpus(spec, ray.cluster_resources().get("GPU", 0))
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    # A block is never dropped: a row's failure is a value, any other error ends the run, which can be repeated.
    data.max_errored_blocks = 0
    # Accelerators may take long to come, and a batch long to draw: neither is a reason to give up.
    data.execution_no_progress_timeout_s = -1
    data.execution_options.preserve_order = False


def _check_gpus(spec: JobSpec, found: float) -> None:
    workers = spec.workers
    wanted = (
        workers.encoders.count * workers.encoders.gpus + workers.generators.count * workers.generators.gpus
    )
    if wanted > found:
        raise DreamCacheError(
            f"workers: ask for {wanted:g} GPUs, this machine has {found:g}; lower workers.*.gpus, or give --address",
            code="no_resources",
        )


def declared_cpus(spec: JobSpec) -> int:
    """Logical CPUs that both pools and one publisher take."""
    workers = spec.workers
    pools = (workers.encoders, workers.generators)
    return math.ceil(sum(pool.count * pool.cpus for pool in pools) + workers.publishers.cpus)


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
