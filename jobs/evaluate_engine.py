"""The Ray Data pipeline of an evaluation: images to score in, the status of each out as its score is committed.

    rows -> EvaluateWorker (actors) -> statuses

Resources are declared from the spec. Knows Ray; never imports torch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pyarrow as pa

from dreamcache.config import ImageLimits
from dreamcache.errors import DreamCacheError
from dreamcache.evaluate.scores import ScoreRequest
from jobs.cluster import told_by_worker
from jobs.evaluate_spec import EvalSpec
from workers.evaluate import REQUESTS, EvalContext, EvaluateWorker

MAX_RESTARTS = 5


def score_images(spec: EvalSpec, requests: Sequence[ScoreRequest]) -> Iterator[str]:
    """Scores images on the cluster this process is in; yields "done" or "failed" for each, in no order.

    Raises DreamCacheError when the run as a whole cannot go on.
    """
    import ray
    from ray.data import ActorPoolStrategy

    size, pool = spec.workers.batch_size, spec.workers.scorers
    # Sorted, so that a subject's real photos are embedded once by the scorer that has its images.
    rows = [asdict(request) for request in sorted(requests, key=lambda request: request.subject_id)]
    table = pa.Table.from_pylist(rows, schema=REQUESTS)
    blocks = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    context = EvalContext(
        output=spec.output,
        metrics=spec.metrics,
        limits=ImageLimits(),
        num_threads=max(1, int(pool.cpus)),
    )
    _quiet()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_arrow(blocks).map_batches(
            EvaluateWorker,
            fn_constructor_args=(context,),
            compute=ActorPoolStrategy(size=min(pool.count, len(blocks))),
            batch_size=size,
            batch_format="pyarrow",
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
            memory=pool.memory_bytes,
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
        )
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch["status"].to_pylist()
    except ray.exceptions.RayError as error:
        told = told_by_worker(error)
        lost = f"a scorer was lost: {type(error).__name__}: {str(error).strip().splitlines()[-1][:300]}"
        raise DreamCacheError(
            f"{told or lost}; what is scored is kept, the same command goes on from here", code="worker_error"
        ) from error


def _quiet() -> None:
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # an error reaches the user once, as ours
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    # A score's failure is a value; any other error ends the run, which can be repeated.
    data.max_errored_blocks = 0
    data.execution_no_progress_timeout_s = -1
