"""Adapter keys and values of recent subjects, projected once and kept on the device in a bounded LRU.

Knows features and adapters; knows nothing of batches or steps.
"""

from __future__ import annotations

from collections import OrderedDict

import torch

from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.features import SubjectFeatures

DEFAULT_BYTES = 1 << 30


class ProjectionCache:
    """subject -> {place: KeysValues}, at most `max_bytes` of them besides the newest."""

    def __init__(self, adapter: DreamCacheAdapter, max_bytes: int = DEFAULT_BYTES) -> None:
        self.adapter = adapter
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[str, dict[str, KeysValues]] = OrderedDict()

    @torch.no_grad()
    def get(self, subject: SubjectFeatures) -> dict[str, KeysValues]:
        """Keys and values by place, each [1, heads, tokens, head size], in the adapter's dtype and device."""
        projected = self._kept.get(subject.cache_key)
        if projected is None:
            weight = next(self.adapter.parameters())
            maps = {place: subject.maps[place][None].to(weight) for place in self.adapter.feature_places}
            projected = self._kept[subject.cache_key] = self.adapter.project(maps)
            self.num_bytes += _size(projected)
            while self.num_bytes > self.max_bytes and len(self._kept) > 1:
                self.num_bytes -= _size(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(subject.cache_key)
        return projected


def _size(projected: dict[str, KeysValues]) -> int:
    return sum(kv.num_bytes for kv in projected.values())
