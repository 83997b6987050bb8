"""IP-Adapter, opened: its pipeline, and subjects read from their photos."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.ip_adapter.pipeline import IpAdapter
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.families.photo import PhotoConditions
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def open_pipeline(model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str) -> IpAdapter:
    """See `FamilyModule`."""
    return IpAdapter(base, adapter, model.adapter, dtype=getattr(torch, model.dtype), device=device)


def open_references(pipe: IpAdapter, sources: ReferenceSources) -> PhotoConditions[Tensor]:
    """See `FamilyModule`."""
    return PhotoConditions(pipe, sources.limits, capacity=sources.capacity, hosts=sources.hosts)
