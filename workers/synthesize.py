"""The synthesizer: holds the model of a stage and produces its parts. Each is committed at once, so that a dead worker
costs one part.
"""

from __future__ import annotations

import json

import pyarrow as pa

from dreamcache.synthesis.make import StageContext
from dreamcache.synthesis.parts import Part

PARTS = pa.schema([("stage", pa.string()), ("name", pa.string()), ("work", pa.string())])
"""The fields of `parts.Part`; work as JSON."""

COMMITTED = pa.schema([("name", pa.string())])
"""What the driver receives for each part: it is committed."""


class SynthesizeWorker:
    """Ray actor. Rows of PARTS in, rows of COMMITTED out, the parts committed."""

    def __init__(self, context: StageContext) -> None:
        import ray
        import torch
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        from dreamcache.synthesis.make import StageMaker

        torch.set_num_threads(context.num_threads)
        for library in (diffusers_logging, transformers_logging):
            library.disable_progress_bar()
        # Ray leaves GPUs visible to workers that asked for none; only an assigned one is ours.
        has_gpu = bool(ray.get_runtime_context().get_accelerator_ids().get("GPU"))
        self.make = StageMaker(context, device="cuda" if has_gpu else "cpu")

    def __call__(self, batch: pa.Table) -> pa.Table:
        for row in batch.to_pylist():
            self.make(Part(stage=row["stage"], name=row["name"], work=json.loads(row["work"])))
        return batch.select(COMMITTED.names)
