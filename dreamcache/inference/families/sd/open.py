"""DreamCache on Stable Diffusion, opened: the public pipeline, and features through the cache."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.pipeline import DreamCachePipeline
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def open_pipeline(
    model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str
) -> DreamCachePipeline:
    """See `FamilyModule`."""
    dtype = getattr(torch, model.dtype)
    pipe = DreamCachePipeline.from_pretrained(
        model.base,
        revision=model.revision,
        adapter=model.adapter,
        loras=[(lora.path, lora.weight) for lora in model.loras],
        allow_other_base=model.allow_other_base,
        dtype=dtype,
        device=device,
    )
    pipe.set_progress_bar_config(disable=True)
    if model.compile != "off":
        pipe.compile(model.compile)
    return pipe


def open_references(pipe: DreamCachePipeline, sources: ReferenceSources) -> ReferenceFeatures:
    """See `FamilyModule`."""
    return ReferenceFeatures(
        pipe.encoder(sources.settings),
        sources.cache,
        sources.limits,
        capacity=sources.capacity,
        hosts=sources.hosts,
    )
