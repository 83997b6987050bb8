"""What a method without a feature cache reads of a subject: its photo, decoded once and kept for its prompts.

Knows photos; knows nothing of methods but that they have `encode_reference`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import decode_image
from dreamcache.core.records import Request
from dreamcache.storage.photos import read_reference

KEPT = 64


class PhotoConditions:
    """request -> what the method makes of its subject's photo; stands where `ReferenceFeatures` does."""

    def __init__(self, method: Any, limits: ImageLimits) -> None:
        self.method = method
        self.limits = limits
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def get(self, request: Request) -> Any:
        """Raises ImageError when the photo cannot be used, also where the method would not read it."""
        key = request.reference_id, request.class_name
        if key not in self._kept:
            where = f"subject '{request.subject_id}': image '{request.image}'"
            photo, _ = read_reference(request, self.limits)
            image = decode_image(photo, where=where, limits=self.limits)
            self._kept[key] = self.method.encode_reference(image, class_name=request.class_name)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
