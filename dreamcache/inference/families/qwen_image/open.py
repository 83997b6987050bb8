"""Qwen-Image 2.1, opened: its pipeline, and photos through the feature cache."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.cached import open_references
from dreamcache.inference.families.qwen_image.pipeline import QwenImagePipeline
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo

__all__ = ["open_pipeline", "open_references"]


def open_pipeline(
    model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str
) -> QwenImagePipeline:
    """See `FamilyModule`."""
    return QwenImagePipeline(base, adapter, dtype=getattr(torch, model.dtype), device=device)
