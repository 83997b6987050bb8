"""Adapter keys and values of recent subjects, projected once and held on the device in a bounded LRU.

Knows features and adapters; knows nothing of batches or steps.
"""

from __future__ import annotations

import torch

from dreamcache.core.lru import LRU
from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.features import SubjectFeatures

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
    def get(self, subject: SubjectFeatures) -> dict[str, KeysValues]:
        """Keys and values by place, each [1, heads, tokens, head size], in the adapter's dtype and device."""
        return self._recent.get_or(subject.cache_key, lambda: self._project(subject))

    def _project(self, subject: SubjectFeatures) -> dict[str, KeysValues]:
        weight = next(self.adapter.parameters())
        maps = {place: subject.maps[place][None].to(weight) for place in self.adapter.feature_places}
        return self.adapter.project(maps)


def _size(projected: dict[str, KeysValues]) -> int:
    return sum(kv.num_bytes for kv in projected.values())
