"""Features of a planned item: from the feature cache, or encoded from the photo and stored there.

Where photos, encoder and cache meet. A cache object that is damaged or not what is asked for is never used: its
reference is encoded again. Knows nothing of Ray; every error it raises is about one subject only.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import CacheError, ImageError, ModelError, StorageError
from dreamcache.core.images import decode_image, decode_mask
from dreamcache.core.lru import LRU
from dreamcache.core.photo_sets import photos_of
from dreamcache.core.records import Request
from dreamcache.inference.protocols import OnFeatures, OnRefused, ReferenceEncoder
from dreamcache.model.features import Features, PhotoSet, SubjectFeatures
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.feature_check import check_finite
from dreamcache.storage.photos import read_reference

logger = logging.getLogger(__name__)

SEEN = 1 << 16
"""Keys that a process remembers: the storage is asked once whether an object is there."""


class ReferenceFeatures:
    """request -> SubjectFeatures, or a PhotoSet where the item has several photos, each cached by itself.

    Keeps the last `capacity` photos in memory, and those of one subject at least: plans are sorted by subject.
    """

    def __init__(
        self,
        encoder: ReferenceEncoder,
        cache: FeatureCache,
        limits: ImageLimits,
        capacity: int = 64,
        hosts: Sequence[CatalogHost] = (),
    ) -> None:
        self.encoder = encoder
        self.cache = cache
        self.limits = limits
        self.capacity = capacity
        self.hosts = hosts
        self.on_features: OnFeatures = lambda source, seconds: None
        self.on_refused: OnRefused = lambda cache_key, message: None
        self._recent: OrderedDict[str, SubjectFeatures] = OrderedDict()
        self._present: LRU[str, None] = LRU(SEEN)
        self._notes: LRU[str, str | None] = LRU(SEEN)

    def get(self, request: Request) -> Features:
        """Raises ImageError or StorageError when a photo cannot be used, ModelError where versions differ."""
        photos = photos_of(request)
        features = tuple(self._of_photo(photo) for photo in photos)
        self._forget(len(photos))
        return features[0] if len(features) == 1 else PhotoSet(photos=features)

    def _of_photo(self, request: Request) -> SubjectFeatures:
        features = self._recent.get(request.cache_key) or self._fetch(request)
        self._remember(features, request)
        return features

    def ensure(self, request: Request) -> None:
        """Encodes and stores what the cache lacks; an object that is there is checked by whoever reads it.

        Raises as `get` does.
        """
        for photo in photos_of(request):
            key = photo.cache_key
            if key in self._recent or key in self._present:
                continue
            started = time.perf_counter()
            if self.cache.has(key):
                self.on_features("cache", time.perf_counter() - started)
            else:
                self._remember(self._fetch(photo), photo)
                self._forget(1)
            self._present.put(key, None)

    def has(self, request: Request) -> bool:
        """Whether the features of all photos are in memory already."""
        with suppress(ImageError):  # of a row that `get` refuses
            return all(photo.cache_key in self._recent for photo in photos_of(request))
        return False

    def segment_note(self, request: Request) -> str | None:
        """Why a whole photo was used for features that were read here; None where a subject was cut out of each."""
        with suppress(ImageError):
            notes = (self._notes.get(photo.cache_key) for photo in photos_of(request))
            return next((note for note in notes if note), None)
        return None

    def recall(self, request: Request, cache: FeatureCache) -> bool:
        """Takes the features from another cache into memory, without a look at photos. Raises CacheError."""
        photos = photos_of(request)
        for photo in photos:
            stored = cache.get(photo.cache_key, self.encoder.expected(photo.reference_id))
            if stored is None:
                return False
            self._remember(SubjectFeatures.from_stored(stored), photo)
        self._forget(len(photos))
        return True

    def _remember(self, features: SubjectFeatures, request: Request) -> None:
        self._recent[request.cache_key] = features
        self._recent.move_to_end(request.cache_key)
        self._notes.put(request.cache_key, features.segment_note)

    def _forget(self, in_use: int) -> None:
        while len(self._recent) > max(self.capacity, in_use):
            self._recent.popitem(last=False)

    def _fetch(self, request: Request) -> SubjectFeatures:
        started = time.perf_counter()
        stored = self._stored(request)
        features = stored or self._encode(request)
        self.on_features("encoded" if stored is None else "cache", time.perf_counter() - started)
        return features

    def _stored(self, request: Request) -> SubjectFeatures | None:
        try:
            stored = self.cache.get(request.cache_key, self.encoder.expected(request.reference_id))
        except CacheError as error:
            logger.warning("%s", error)
            self.on_refused(request.cache_key, str(error))
            return None
        return SubjectFeatures.from_stored(stored) if stored is not None else None

    def _encode(self, request: Request) -> SubjectFeatures:
        where = f"subject '{request.subject_id}': image '{request.image}'"
        photo, mask_data = read_reference(request, self.limits, self.hosts)
        image = decode_image(photo, where=where, limits=self.limits)
        mask = None
        if mask_data is not None:
            where_mask = f"subject '{request.subject_id}': mask '{request.mask}'"
            mask = decode_mask(mask_data, where=where_mask, limits=self.limits, size=image.size)
        features = self.encoder.encode(
            image, mask, class_name=request.class_name, reference_id=request.reference_id, where=where
        ).features
        if features.cache_key != request.cache_key:
            raise ModelError(
                f"{where}: was planned as features {request.cache_key[:12]}, but this worker encodes "
                f"{features.cache_key[:12]}: base model or settings differ from the planner's; "
                "use one version everywhere"
            )
        stored = features.to_stored()
        try:
            check_finite(stored, where)
        except CacheError as error:
            raise ImageError(
                f"{where}: the model returned NaN for its features; try another dtype (bfloat16, float32)",
                code="nan_image",
            ) from error
        try:
            self.cache.put(stored)
        except StorageError as error:
            if error.code != "bad_uri":
                raise
            logger.warning(
                "%s; the features are used and not stored", error
            )  # a folder lies at this key alone
        return features
