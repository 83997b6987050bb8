"""The maker: holds a stage's model and makes its parts, each committed at once, so that a death costs one part."""

from __future__ import annotations

import json

import pyarrow as pa

from dreamcache.synthesis.make import StageContext
from dreamcache.synthesis.parts import Part
from workers.bootstrap import start_torch

PARTS = pa.schema([("stage", pa.string()), ("name", pa.string()), ("work", pa.string())])
"""The fields of `parts.Part`; work as JSON."""

MADE = pa.schema([("name", pa.string())])
"""What the driver hears of each part: that it is there."""


class SynthesizeWorker:
    """Ray actor. Rows of PARTS in, rows of MADE out, the parts committed."""

    def __init__(self, context: StageContext) -> None:
        from dreamcache.synthesis.make import StageMaker

        self.make = StageMaker(context, device=start_torch(context.num_threads))

    def __call__(self, batch: pa.Table) -> pa.Table:
        for row in batch.to_pylist():
            self.make(Part(stage=row["stage"], name=row["name"], work=json.loads(row["work"])))
        return batch.select(MADE.names)
