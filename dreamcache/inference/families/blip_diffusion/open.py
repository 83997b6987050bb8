"""BLIP-Diffusion, opened: its pipeline, and subjects read from their photos."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.blip_diffusion.pipeline import BlipDiffusion, Seen
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.families.photo import PhotoConditions
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def open_pipeline(model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str) -> BlipDiffusion:
    """See `FamilyModule`."""
    return BlipDiffusion(base, adapter, dtype=getattr(torch, model.dtype), device=device)


def open_references(pipe: BlipDiffusion, sources: ReferenceSources) -> PhotoConditions[Seen]:
    """See `FamilyModule`."""
    return PhotoConditions(pipe, sources.limits, capacity=sources.capacity, hosts=sources.hosts)
