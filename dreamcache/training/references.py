"""Features of references that are the same at every step: encoded once, then read from the feature cache.

    reference id --> memory (bounded) --> feature cache --> encoded with the batch, stored

The keys are those of a job that encodes such photos whole (`segmenter: none`), so each finds the features of
the other. Knows the feature cache; the caller knows how references are encoded (see `training.loss`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.train import TrainSettings
from dreamcache.core.errors import CacheError
from dreamcache.core.lru import LRU
from dreamcache.core.records import cache_key
from dreamcache.model.features import SubjectFeatures
from dreamcache.storage.feature_cache import Expected, FeatureCache, mark_cache
from dreamcache.storage.models.base import BaseInfo

MEMORY_BYTES = 2**30
AT_ONCE = 8

Maps = Mapping[str, Tensor]
logger = logging.getLogger(__name__)


class StoredReferences:
    """The features of one worker's references, in front of the feature cache.

    counts: how many were in "memory", in the "cache", "encoded" and stored, and "changing" ones that cannot be;
    "refused": how many of the cache were damaged or not what was asked for, and so were encoded.
    """

    def __init__(
        self, cache: FeatureCache, settings: EncodeSettings, *, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        """settings: resolved, without the text, which may differ by sample."""
        self.cache, self.settings = cache, settings
        self.counts: Counter[str] = Counter(memory=0, cache=0, encoded=0, changing=0)
        self._recent: LRU[str, Maps] = LRU(memory_bytes, size=_bytes)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="features")

    @classmethod
    def open(cls, settings: TrainSettings, info: BaseInfo, places: tuple[str, ...]) -> StoredReferences:
        """Those of a training. Raises StorageError when the cache cannot be written."""
        mark_cache(settings.reference.cache)
        encoding = EncodeSettings(
            size=settings.size or info.native_size,
            places=places,
            timestep=settings.reference.timestep,
            compute_dtype=settings.precision,
            dtype=settings.precision,
            segmenter="none",
        )
        return cls(FeatureCache(settings.reference.cache, info.fingerprint), encoding)

    def read(
        self,
        names: Sequence[str],
        texts: Sequence[str],
        encode: Callable[[Sequence[int]], Maps],
        device: torch.device,
    ) -> dict[str, Tensor]:
        """{place: [B, C, h, w]} of a batch's references.

        names: reference ids, "" for one that differs at the next step. texts: of the encoding passes.
        encode: rows -> features [n, C, h, w] of these rows, in one pass.
        """
        keys = [self._key(name, text) if name else "" for name, text in zip(names, texts, strict=True)]
        sources = zip(keys, names, texts, strict=True)
        available = self._available({key: (name, text) for key, name, text in sources if key})
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key}
        new = [row for row, key in enumerate(keys) if not key or (key not in available and first[key] == row)]
        encoded: dict[int, Maps] = {}
        if new:
            stacked = encode(new)
            encoded = {
                row: {place: value[n] for place, value in stacked.items()} for n, row in enumerate(new)
            }
        stored = {keys[row]: (names[row], texts[row], maps) for row, maps in encoded.items() if keys[row]}
        list(self._pool.map(self._store, stored, stored.values()))
        self.counts.update(encoded=len(stored), changing=keys.count(""))
        for key, (_, _, maps) in stored.items():
            available[key] = self._remember(key, maps)
        rows = [available[key] if key else encoded[row] for row, key in enumerate(keys)]
        return {
            place: torch.stack([maps[place].to(device) for maps in rows]) for place in self.settings.places
        }

    def _key(self, name: str, text: str) -> str:
        return cache_key(name, self.cache.base_fingerprint, replace(self.settings, text=text), "")

    def _available(self, keys: Mapping[str, tuple[str, str]]) -> dict[str, Maps]:
        """keys: with the reference id and the encoding pass's text of each."""
        available = {key: maps for key in keys if (maps := self._recent.get(key)) is not None}
        absent = [key for key in keys if key not in available]
        self.counts["memory"] += len(available)
        for key, maps in zip(
            absent, self._pool.map(self._fetch, absent, [keys[key] for key in absent]), strict=True
        ):
            if maps is not None:
                available[key] = self._remember(key, maps)
                self.counts["cache"] += 1
        return available

    def _fetch(self, key: str, source: tuple[str, str]) -> Maps | None:
        name, text = source
        expected = Expected(reference_id=name, settings=replace(self.settings, text=text))
        try:
            stored = self.cache.get(key, expected)
        except CacheError as error:
            logger.warning("%s", error)
            self.counts["refused"] += 1
            return None
        return SubjectFeatures.from_stored(stored).maps if stored is not None else None

    def _store(self, key: str, features_of: tuple[str, str, Maps]) -> None:
        name, text, maps = features_of
        features = SubjectFeatures(
            cache_key=key,
            reference_id=name,
            base_fingerprint=self.cache.base_fingerprint,
            maps={place: value.cpu() for place, value in maps.items()},
            settings=replace(self.settings, text=text).as_dict(),
        )
        self.cache.put(features.to_stored())

    def _remember(self, key: str, maps: Maps) -> Maps:
        # A row of a batch would hold the memory of the whole batch.
        return self._recent.put(key, {place: value.detach().cpu().clone() for place, value in maps.items()})


def _bytes(maps: Maps) -> int:
    return sum(value.nbytes for value in maps.values())
