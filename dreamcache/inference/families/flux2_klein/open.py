"""FLUX.2 klein, opened: its pipeline, and latents of references through the feature cache."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.cached import open_references
from dreamcache.inference.families.flux2_klein.pipeline import KleinPipeline
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo

__all__ = ["open_pipeline", "open_references"]


def open_pipeline(model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str) -> KleinPipeline:
    """See `FamilyModule`."""
    dtype = getattr(torch, model.dtype)
    return KleinPipeline(base, adapter, dtype=dtype, device=device, offload=model.offload)
