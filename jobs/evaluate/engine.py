"""The Ray Data pipeline of an evaluation: images to score in, the status of each out as its score is committed.

    rows -> EvaluateWorker (actors) -> statuses

Knows Ray; never imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pyarrow as pa

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.evaluation.scores import ScoreRequest
from dreamcache.evaluation.truth.identity import segmenter_weights
from jobs.evaluate.spec import EvalSpec
from jobs.running.ray_data import map_workers, values_of
from workers.evaluate import REQUESTS, EvalContext, EvaluateWorker


def score_images(
    spec: EvalSpec, requests: Sequence[ScoreRequest], hosts: tuple[CatalogHost, ...] = ()
) -> Iterator[str]:
    """Scores images on the cluster this process is in; yields "done" or "failed" for each, in no order.

    hosts: that https:// photos may be read from.

    Raises DreamCacheError when the run as a whole cannot go on.
    """
    pool = spec.workers.scorers
    # Sorted, so that a subject's real photos are embedded once by the scorer that has its images.
    rows = [asdict(request) for request in sorted(requests, key=lambda request: request.subject_id)]
    context = EvalContext(
        output=spec.output,
        metrics=spec.metrics,
        limits=ImageLimits(),
        num_threads=max(1, int(pool.cpus)),
        hosts=hosts,
        segmenter=segmenter_weights(spec.metrics),
    )
    table = pa.Table.from_pylist(rows, schema=REQUESTS)
    dataset = map_workers(table, EvaluateWorker, context, pool, batch_size=spec.workers.batch_size)
    yield from values_of(dataset, "status", lost="a scorer", remains="scores are kept")
