"""The Ray Data pipeline of one stage of a synthesis: parts to make in, their names out as they are committed.

    parts -> SynthesizeWorker (actors) -> names

Resources are declared from the spec. Knows Ray; never imports torch.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence

import pyarrow as pa

from dreamcache.errors import DreamCacheError
from dreamcache.synthesize.make import StageContext
from dreamcache.synthesize.parts import Part
from jobs.cluster import told_by_worker
from jobs.spec import WorkerSpec
from workers.synthesize import PARTS, SynthesizeWorker

MAX_RESTARTS = 5


def make_parts(context: StageContext, pool: WorkerSpec, parts: Sequence[Part]) -> Iterator[str]:
    """Makes the parts on the cluster this process is in; yields each one's name when it is there.

    Raises DreamCacheError when the run as a whole cannot go on.
    """
    import ray
    from ray.data import ActorPoolStrategy

    rows = [{"stage": part.stage, "name": part.name, "work": json.dumps(dict(part.work))} for part in parts]
    table = pa.Table.from_pylist(rows, schema=PARTS)
    blocks = [table.slice(number, 1) for number in range(table.num_rows)]
    _quiet()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        made = ray.data.from_arrow(blocks).map_batches(
            SynthesizeWorker,
            fn_constructor_args=(context,),
            compute=ActorPoolStrategy(size=min(pool.count, len(blocks))),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
            memory=pool.memory_bytes,
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
        )
    try:
        for batch in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch["name"].to_pylist()
    except ray.exceptions.RayError as error:
        told = told_by_worker(error)
        lost = f"a worker was lost: {type(error).__name__}: {str(error).strip().splitlines()[-1][:300]}"
        raise DreamCacheError(
            f"{told or lost}; parts that are made are kept, the same command goes on from here",
            code="worker_error",
        ) from error


def _quiet() -> None:
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # an error reaches the user once, as ours
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    data.max_errored_blocks = 0
    data.execution_no_progress_timeout_s = -1
