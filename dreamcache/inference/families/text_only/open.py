"""The base model alone, opened: its pipeline, and subjects read from their photos."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.families.photo import PhotoConditions
from dreamcache.inference.families.text_only.pipeline import TextOnly
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def open_pipeline(model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str) -> TextOnly:
    """See `FamilyModule`."""
    return TextOnly(base, adapter, dtype=getattr(torch, model.dtype), device=device)


def open_references(pipe: TextOnly, sources: ReferenceSources) -> PhotoConditions[None]:
    """See `FamilyModule`."""
    return PhotoConditions(pipe, sources.limits, capacity=sources.capacity, hosts=sources.hosts)
