"""What a method without a feature cache reads of a subject: its photo, decoded once for all its prompts.

Knows photos; knows nothing of methods but that they have `encode_reference`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.images import decode_image
from dreamcache.core.records import Request
from dreamcache.inference.protocols import OnFeatures, OnRefused, Pipeline
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.photos import read_reference

S = TypeVar("S")


class PhotoConditions(Generic[S]):
    """request -> what the method reads of its subject's photo, for the last `capacity` subjects; a `References`."""

    def __init__(
        self,
        pipe: Pipeline[S],
        limits: ImageLimits,
        capacity: int = 64,
        hosts: Sequence[CatalogHost] = (),
    ) -> None:
        self.pipe = pipe
        self.limits = limits
        self.capacity = capacity
        self.hosts = hosts
        self.on_features: OnFeatures = lambda source, seconds: None
        self.on_refused: OnRefused = lambda cache_key, message: None
        self._recent: OrderedDict[tuple[str, str], S] = OrderedDict()

    def get(self, request: Request) -> S:
        """Raises ImageError when the photo cannot be used, also where the method would not read it."""
        key = request.reference_id, request.class_name
        if key not in self._recent:
            where = f"subject '{request.subject_id}': image '{request.image}'"
            photo, _ = read_reference(request, self.limits, self.hosts)
            image = decode_image(photo, where=where, limits=self.limits)
            self._recent[key] = self.pipe.encode_reference(image, class_name=request.class_name)
            if len(self._recent) > self.capacity:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    def ensure(self, request: Request) -> None:
        """These methods have no cache: the photo is read."""
        self.get(request)

    def has(self, request: Request) -> bool:
        """Whether the photo was read already."""
        return (request.reference_id, request.class_name) in self._recent

    def segment_note(self, request: Request) -> str | None:
        """These methods read whole photos."""
        return None

    def recall(self, request: Request, cache: FeatureCache) -> bool:
        """No feature cache holds anything of these methods."""
        return False
