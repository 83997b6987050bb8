"""The scorer: holds the encoders, turns batches of images into scores, and commits the scores of each batch.

So scores survive when a run dies, and the driver receives only what it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.evaluation.scores import RealPhoto, ScoreRequest, Scores
from workers.bootstrap import start_torch

PHOTO = pa.struct([("photo_id", pa.string()), ("uri", pa.string()), ("mask", pa.string())])
REQUESTS = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("score_id", "subject_id", "class_name", "image", "prompt", "mask")
        ),
        ("real", pa.list_(PHOTO)),
    ]
)
"""The fields of `scores.ScoreRequest`."""

SCORED = pa.schema([("score_id", pa.string()), ("status", pa.string())])
"""What the driver receives for each image; status is done or failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalContext:
    """What every scorer needs to know. num_threads: torch threads of one scorer. hosts: of https:// photos.

    segmenter: identity of the file that cuts subjects out, as planned; "" where none does.
    """

    output: str
    metrics: MetricSettings
    limits: ImageLimits
    num_threads: int
    hosts: tuple[CatalogHost, ...] = ()
    segmenter: str = ""


class EvaluateWorker:
    """Ray actor. Rows of REQUESTS in, rows of SCORED out, their scores committed."""

    def __init__(self, context: EvalContext) -> None:
        from dreamcache.evaluation.score import Scorer

        device = start_torch(context.num_threads)
        self.scorer = Scorer(
            context.metrics,
            device=device,
            limits=context.limits,
            hosts=context.hosts,
            segmenter=context.segmenter,
        )
        self.scores = Scores(context.output)

    def __call__(self, batch: pa.Table) -> pa.Table:
        scores = self.scorer.score([request_of(row) for row in batch.to_pylist()])
        self.scores.append(scores)
        counted = [
            {"score_id": score.score_id, "status": "done" if score.code is None else "failed"}
            for score in scores
        ]
        return pa.Table.from_pylist(counted, schema=SCORED)


def request_of(row: dict[str, Any]) -> ScoreRequest:
    """The request in a row of REQUESTS."""
    return ScoreRequest(**{**row, "real": tuple(RealPhoto(**photo) for photo in row["real"])})
