"""Adapter keys and values of recent subjects, projected once and held on the device in a bounded LRU.

Knows features and adapters; knows nothing of batches or steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcache.core.lru import LRU
from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.features import Features, SubjectFeatures, photos_of

DEFAULT_BYTES = 1 << 30


class ProjectionCache:
    """subject -> {place: KeysValues}, at most `max_bytes` of them besides the newest."""

    def __init__(self, adapter: DreamCacheAdapter, max_bytes: int = DEFAULT_BYTES) -> None:
        self.adapter = adapter
        self._recent: LRU[str, dict[str, KeysValues]] = LRU(max_bytes, size=_size)

    @property
    def num_bytes(self) -> int:
        """Of all keys and values held now."""
        return self._recent.total

    @torch.no_grad()
    def get(self, subject: Features) -> dict[str, KeysValues]:
        """Keys and values by place, each [1, heads, tokens, head size], in the adapter's dtype and device.

        Those of several photos stand one after the other, sorted by key, so that their order has no meaning.
        """
        photos = {photo.cache_key: photo for photo in photos_of(subject)}
        projected = [self._of_photo(photo) for _, photo in sorted(photos.items())]
        return projected[0] if len(projected) == 1 else _joined(projected)

    def _of_photo(self, photo: SubjectFeatures) -> dict[str, KeysValues]:
        return self._recent.get_or(photo.cache_key, lambda: self._project(photo))

    def _project(self, subject: SubjectFeatures) -> dict[str, KeysValues]:
        weight = next(self.adapter.parameters())
        maps = {place: _beside(subject.maps[place][None], weight) for place in self.adapter.feature_places}
        return self.adapter.project(maps)


def _beside(value: Tensor, weight: Tensor) -> Tensor:
    """In the weight's dtype and on its device; to a GPU from pinned memory, so that nothing waits for the copy."""
    if weight.device.type == "cuda" and value.device.type == "cpu":
        return value.pin_memory().to(weight, non_blocking=True)
    return value.to(weight)


def _joined(photos: list[dict[str, KeysValues]]) -> dict[str, KeysValues]:
    return {
        place: KeysValues(
            keys=torch.cat([photo[place].keys for photo in photos], dim=2),
            values=torch.cat([photo[place].values for photo in photos], dim=2),
        )
        for place in photos[0]
    }


def _size(projected: dict[str, KeysValues]) -> int:
    return sum(kv.num_bytes for kv in projected.values())
