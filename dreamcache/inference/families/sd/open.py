"""DreamCache on Stable Diffusion, opened: the public pipeline, and features through the cache."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.cached import open_references
from dreamcache.inference.layouts import STABLE_DIFFUSION
from dreamcache.inference.pipeline import DreamCachePipeline
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo

__all__ = ["LAYOUT", "open_pipeline", "open_references"]

LAYOUT = STABLE_DIFFUSION


def open_pipeline(
    model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str
) -> DreamCachePipeline:
    """See `FamilyModule`."""
    dtype, offloads = getattr(torch, model.dtype), model.offload != "none" and device != "cpu"
    pipe = DreamCachePipeline.from_pretrained(
        model.base,
        revision=model.revision,
        adapter=model.adapter,
        loras=[(lora.path, lora.weight) for lora in model.loras],
        allow_other_base=model.allow_other_base,
        quantize=model.quantize,
        dtype=dtype,
        device="cpu"
        if offloads
        else device,  # a model that is larger than the card never is on it as a whole
    )
    pipe.set_progress_bar_config(disable=True)
    if offloads:
        pipe.offload(model.offload, device)
    if model.compile != "off":
        pipe.compile(model.compile)
    return pipe
