"""Ray Data as every pipeline of ours uses it: its settings, a pool of actors, the values that come out.

    blocks -> map_workers -> values_of

Resources are declared from the spec; nothing is probed on the driver. Knows Ray; never imports torch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dreamcache.core.config.job import WorkerSpec
from dreamcache.core.errors import DreamCacheError
from jobs.cluster.ray_cluster import worker_error

MAX_RESTARTS = 5

ActorOptions = dict[str, Any]
"""Of `ray.remote`."""


def set_up_ray_data() -> None:
    """Ray Data's settings of this process that a run relies on."""
    import ray.data

    # Ray Data's own progress stays in its log file; ours is counted in images.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # an error reaches the user once, as ours
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    # A block is never dropped: a row's failure is a value, any other error ends the run, which can be repeated.
    data.max_errored_blocks = 0
    # Accelerators may take long to come, and a batch long to generate: neither is a reason to give up.
    data.execution_no_progress_timeout_s = -1
    data.execution_options.preserve_order = False


def beside_the_driver() -> ActorOptions:
    """Options of an actor or task on the driver's own node, which is lost only with the run. It takes no CPU of the
    node's share."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return {"num_cpus": 0, "scheduling_strategy": here}


def actor_options(pool: WorkerSpec, num_blocks: int, calls: int = 1) -> dict[str, Any]:
    """The arguments of `map_batches` for a pool: its size and each actor's resources.

    calls: blocks that an actor works on at a time. Its class is called in one thread whatever they are; a generator
    that a call returns is run through in the thread of its block.
    """
    from ray.data import ActorPoolStrategy

    least, most = min(pool.count, num_blocks), min(pool.max_count or pool.count, num_blocks)
    # One batch waits: more would only wait behind a busy worker while another is idle.
    compute = ActorPoolStrategy(
        min_size=least,
        max_size=most,
        max_tasks_in_flight_per_actor=calls + 1,
        max_concurrent_calls_per_actor=calls if calls > 1 else None,
    )
    return {
        "compute": compute,
        "num_cpus": pool.cpus,
        "num_gpus": pool.gpus or None,
        "memory": pool.memory_bytes,
        "accelerator_type": pool.accelerator_type,
        "label_selector": dict(pool.label_selector) or None,
        "resources": dict(pool.resources) or None,
        "batch_format": "pyarrow",
    }


def map_workers(table: pa.Table, worker: type, context: Any, pool: WorkerSpec, *, batch_size: int) -> Any:
    """A Ray Dataset: `worker(context)` as a pool of actors over the table, a block for each batch.

    A worker that dies comes back MAX_RESTARTS times; then the pipeline is lost.
    """
    import ray.data

    set_up_ray_data()
    blocks = [table.slice(start, batch_size) for start in range(0, table.num_rows, batch_size)]
    with warnings.catch_warnings():
        # Ray 2.64 will name the retry options; until then they go through **ray_remote_args.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        return ray.data.from_arrow(blocks).map_batches(
            worker,
            fn_constructor_args=(context,),
            batch_size=batch_size,
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
            **actor_options(pool, len(blocks)),
        )


def values_of(dataset: Any, column: str, *, lost: str, remains: str) -> Iterator[str]:
    """Runs the dataset; yields the column's values as they come.

    lost, remains: for the error when the pipeline as a whole is lost: what was lost, and what is not. Raises
    DreamCacheError then.
    """
    import ray

    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch[column].to_pylist()
    except ray.exceptions.RayError as error:
        rest = f"{remains}, the same command resumes from here"
        reason = f"{lost} was lost: {type(error).__name__}: {str(error).strip().splitlines()[-1][:300]}"
        ours = worker_error(error, rest) or DreamCacheError(f"{reason}; {rest}", code="worker_error")
        raise ours from error
