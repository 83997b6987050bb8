"""Qwen-Image 2.1, opened: its pipeline, and photos through the feature cache."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.families.qwen_image.pipeline import QwenImagePipeline
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def open_pipeline(
    model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str
) -> QwenImagePipeline:
    """See `FamilyModule`."""
    return QwenImagePipeline(base, adapter, dtype=getattr(torch, model.dtype), device=device)


def open_references(pipe: QwenImagePipeline, sources: ReferenceSources) -> ReferenceFeatures:
    """See `FamilyModule`."""
    return ReferenceFeatures(
        pipe.encoder(sources.settings), sources.cache, sources.limits, capacity=sources.capacity
    )
