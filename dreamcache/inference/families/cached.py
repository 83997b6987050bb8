"""References of every family that stores features: from the feature cache, or encoded by the pipeline's encoder."""

from __future__ import annotations

from typing import Protocol

from dreamcache.core.config import EncodeSettings
from dreamcache.inference.families.open import ReferenceSources
from dreamcache.inference.protocols import ReferenceEncoder
from dreamcache.inference.references import ReferenceFeatures


class Encodes(Protocol):
    """A pipeline with an encoder for resolved settings."""

    def encoder(self, settings: EncodeSettings) -> ReferenceEncoder:
        """For settings as the plan resolved them."""


def open_references(pipe: Encodes, sources: ReferenceSources) -> ReferenceFeatures:
    """See `FamilyModule`."""
    return ReferenceFeatures(
        pipe.encoder(sources.settings),
        sources.cache,
        sources.limits,
        capacity=sources.capacity,
        hosts=sources.hosts,
    )
