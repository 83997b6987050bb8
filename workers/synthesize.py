"""The synthesizer: holds the model of a stage and produces its parts. Each is committed at once, so that a dead worker
costs one part.
"""

from __future__ import annotations

import json

import pyarrow as pa

from dreamcache.synthesis.make import StageContext
from dreamcache.synthesis.parts import StagePart
from workers.bootstrap import start_torch

PARTS = pa.schema([("stage", pa.string()), ("name", pa.string()), ("work", pa.string())])
"""The fields of `parts.StagePart`; work as JSON."""

COMMITTED = pa.schema([("name", pa.string())])
"""What the driver receives for each part: it is committed."""


class SynthesizeWorker:
    """Ray actor. Rows of PARTS in, rows of COMMITTED out, the parts committed."""

    def __init__(self, context: StageContext) -> None:
        from dreamcache.synthesis.make import StageMaker

        self.make = StageMaker(context, device=start_torch(context.num_threads))

    def __call__(self, batch: pa.Table) -> pa.Table:
        for row in batch.to_pylist():
            self.make(StagePart(stage=row["stage"], name=row["name"], work=json.loads(row["work"])))
        return batch.select(COMMITTED.names)
