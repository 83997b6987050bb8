"""The verb score: images become scores, each against the real photos of its subject and its own prompt.

Errors are values: a bad image costs its own score. Vectors of real photos are cached, and their faults, so rows sorted
by subject read them once. Masked metrics (Supp S2.1) compare segments, the subject alone on white: they depend on the
mask and the pixels within it, and on nothing else. Knows encoders and segmenters; knows nothing of Ray or tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.evaluate import IMAGE_METRICS, TEXT_METRIC, MetricSettings
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import NO_ITEMS_FAULT, DreamCacheError, ImageError
from dreamcache.core.images import decode_image, decode_mask, on_white
from dreamcache.core.lru import LRU
from dreamcache.evaluation.encoders import ClipEncoder, load_encoders
from dreamcache.evaluation.scores import RealPhoto, Score, ScoreRequest
from dreamcache.model.device_errors import is_device_lost
from dreamcache.model.preprocess import packshot
from dreamcache.segment import SegmenterSet
from dreamcache.storage.photo_faults import TEMPORARY
from dreamcache.storage.photo_results import PhotoResults
from dreamcache.storage.photos import read_photo

KEPT_PHOTOS = 512

Floats = NDArray[np.float32]
VectorsByEncoder = dict[str, Floats]
"""Each [width] of length 1."""


def image_similarity(image: Floats, real: Floats) -> float:
    """Mean over the real images of cos(image, real). image: [width] of length 1; real: [n, width] of length 1.

    The mean over a subject's images of this is the mean over all pairs (docs/method.md section 6). CLIP-I, DINO, DINOv2
    and their masked forms are this formula over other vectors.
    """
    if len(real) == 0:
        raise ValueError("real must hold at least one vector")
    return float(np.mean(real.astype(np.float64) @ image.astype(np.float64)))


def text_similarity(image: Floats, text: Floats) -> float:
    """cos(image, text), both [width] of length 1; not scaled and not cut at zero."""
    return float(image.astype(np.float64) @ text.astype(np.float64))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embedding:
    """One picture's vectors; those of its segment are None where the segmenter found nothing, for `reason`."""

    whole: VectorsByEncoder
    segment: VectorsByEncoder | None
    reason: str | None


class Scorer:
    """Scores images with one group of encoders, loaded once. Raises ModelError when one cannot be."""

    def __init__(
        self,
        settings: MetricSettings,
        *,
        device: str = "cpu",
        limits: ImageLimits | None = None,
        hosts: Sequence[CatalogHost] = (),
        segmenter: str = "",
    ) -> None:
        """hosts: that https:// photos may be read from. segmenter: identity of its file (see `truth.identity`)."""
        self.segmenter_weights = segmenter
        self.settings = settings
        self.limits = limits or ImageLimits()
        self.hosts = hosts
        self.encoders = load_encoders(settings.encoders, device)
        self.segmenters = SegmenterSet(settings.segmenter_models, device=device)
        self._texts: LRU[str, Floats] = LRU(KEPT_PHOTOS)
        self._real: PhotoResults[tuple[str, str], Embedding] = PhotoResults(KEPT_PHOTOS)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """One score per request, in order."""
        return [self.score_one(request) for request in requests]

    def score_one(self, request: ScoreRequest, picture: Image.Image | None = None) -> Score:
        """picture: the image itself, where it is not stored yet; `request.image` is then only its name."""
        try:
            return self._measure(request, picture)
        except NO_ITEMS_FAULT:
            raise
        except DreamCacheError as error:
            return Score(score_id=request.score_id, code=error.code, message=str(error))
        except Exception as error:
            if is_device_lost(error):
                raise
            message = f"image '{request.image}': {type(error).__name__}: {str(error)[:300]}"
            return Score(score_id=request.score_id, code="score_error", message=message)

    def _measure(self, request: ScoreRequest, picture: Image.Image | None) -> Score:
        real, unreadable = self._real_photos(request)
        if picture is None:
            where = f"subject '{request.subject_id}': image '{request.image}'"
            image = self._read(request.image, request.mask, request.class_name, where)
        else:
            image = self._embed_picture(picture, None, request.class_name)
        cut = [photo.segment for photo in real if photo.segment is not None]
        values: dict[str, float | None] = {}
        for name in self.encoders:
            metric = IMAGE_METRICS[name]
            values[metric] = image_similarity(
                image.whole[name], np.stack([photo.whole[name] for photo in real])
            )
            if self.settings.segmenter is not None and image.segment is not None and cut:
                values["m" + metric] = image_similarity(
                    image.segment[name], np.stack([one[name] for one in cut])
                )
        if request.prompt and "clip" in self.encoders:
            values[TEXT_METRIC] = text_similarity(image.whole["clip"], self._text(request.prompt))
        return Score(
            score_id=request.score_id,
            values=values,
            found=None if self.settings.segmenter is None else image.segment is not None,
            reason=image.reason,
            num_real=len(real),
            num_real_found=None if self.settings.segmenter is None else len(cut),
            num_real_unreadable=unreadable,
        )

    def _real_photos(self, request: ScoreRequest) -> tuple[list[Embedding], int]:
        """Those that can be read, and how many cannot. Raises ImageError when none can, or a later read may succeed."""
        readable: list[Embedding] = []
        last: ImageError | None = None
        for photo in request.real:
            try:
                readable.append(self._real_photo(photo, request))
            except ImageError as error:
                if error.code in TEMPORARY:
                    raise  # a mean without it would stay, and depend on an outage
                last = error
        if not readable:
            raise last or ImageError(
                f"subject '{request.subject_id}': needs at least one real photo to compare with, got none",
                code="no_real_photo",
            )
        return readable, len(request.real) - len(readable)

    def _real_photo(self, photo: RealPhoto, request: ScoreRequest) -> Embedding:
        where = f"subject '{request.subject_id}': real photo '{photo.uri}'"
        return self._real.get_or(
            (photo.photo_id, request.class_name),
            where,
            lambda: self._read(photo.uri, photo.mask, request.class_name, where),
        )

    def _read(self, uri: str, mask_uri: str | None, class_name: str, where: str) -> Embedding:
        photo = read_photo(uri, where, self.limits, self.hosts)
        picture = decode_image(photo, where=where, limits=self.limits)
        mask = None
        if mask_uri:
            data = read_photo(mask_uri, f"{where}: mask", self.limits, self.hosts)
            mask = decode_mask(data, where=f"{where}: mask", limits=self.limits, size=picture.size)
        return self._embed_picture(picture, mask, class_name)

    def _embed_picture(self, picture: Image.Image, mask: Image.Image | None, class_name: str) -> Embedding:
        whole, settings = self._embed(on_white(picture)), self.settings
        if settings.segmenter is None:
            return Embedding(whole=whole, segment=None, reason=None)
        segment = self.segmenters.segment(
            picture,
            name=settings.segmenter,
            class_name=class_name,
            mask=mask,
            weights=self.segmenter_weights,
        )
        if segment.mask is None:
            return Embedding(whole=whole, segment=None, reason=segment.reason)
        cut = packshot(picture, segment.mask, size=settings.segment_size, margin=settings.margin)
        return Embedding(whole=whole, segment=self._embed(cut), reason=None)

    def _embed(self, picture: Image.Image) -> VectorsByEncoder:
        return {name: encoder.images([picture])[0] for name, encoder in self.encoders.items()}

    def _text(self, prompt: str) -> Floats:
        clip = self.encoders["clip"]
        assert isinstance(clip, ClipEncoder)
        return self._texts.get_or(prompt, lambda: clip.texts([prompt])[0])
