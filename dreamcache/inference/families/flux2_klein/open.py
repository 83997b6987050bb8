"""FLUX.2 klein, opened: its pipeline, and latents of references through the feature cache."""

from __future__ import annotations

import torch

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.flux2_klein.pipeline import KleinPipeline
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def open_pipeline(model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str) -> KleinPipeline:
    """See `FamilyModule`."""
    return KleinPipeline(base, adapter, dtype=getattr(torch, model.dtype), device=device)


def open_references(pipe: KleinPipeline, sources: ReferenceSources) -> ReferenceFeatures:
    """See `FamilyModule`."""
    return ReferenceFeatures(
        pipe.encoder(sources.settings),
        sources.cache,
        sources.limits,
        capacity=sources.capacity,
        hosts=sources.hosts,
    )
