"""The verb score: images become scores, each against the real photos of its subject and its own prompt.

Errors are values: a bad image costs its own score. Vectors of real photos are kept for the subjects at hand, so rows
sorted by subject embed them once. Knows encoders and segmenters; knows nothing of Ray or tables.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.evaluate import IMAGE_METRICS, TEXT_METRIC, MetricSettings
from dreamcache.core.errors import NO_ITEMS_FAULT, DreamCacheError, ImageError
from dreamcache.core.images import decode_image, decode_mask
from dreamcache.evaluation.encoders import ClipEncoder, load_encoders
from dreamcache.evaluation.masked import Cutter
from dreamcache.evaluation.metrics import image_similarity, text_similarity
from dreamcache.evaluation.scores import RealPhoto, Score, ScoreRequest
from dreamcache.model.device_errors import is_device_lost
from dreamcache.segment import SegmenterSet
from dreamcache.storage.photos import read_photo

KEPT_PHOTOS = 512

Vectors = dict[str, NDArray[np.float32]]
"""By encoder, each [width] of length 1."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """One picture's vectors; those of its segment are None where nothing was found, for `reason`."""

    whole: Vectors
    segment: Vectors | None
    reason: str | None


class Scorer:
    """Scores images with one group of encoders, loaded once. Raises ModelError when one cannot be."""

    def __init__(
        self, settings: MetricSettings, *, device: str = "cpu", limits: ImageLimits | None = None
    ) -> None:
        self.settings = settings
        self.limits = limits or ImageLimits()
        self.encoders = load_encoders(settings.encoders, device)
        segmenters = SegmenterSet(settings.segmenter_models, device=device)
        self.cutter = Cutter(settings, segmenters) if settings.segmenter is not None else None
        self._texts: dict[str, NDArray[np.float32]] = {}
        self._real: OrderedDict[tuple[str, str], Seen] = OrderedDict()

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """One score per request, in order."""
        return [self.score_one(request) for request in requests]

    def score_one(self, request: ScoreRequest, picture: Image.Image | None = None) -> Score:
        """picture: the image itself, where it lies nowhere yet; `request.image` is then only its name."""
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
            made = self._look(request.image, request.mask, request.class_name, where)
        else:
            made = self._see(picture, None, request.class_name)
        cut = [photo.segment for photo in real if photo.segment is not None]
        values: dict[str, float | None] = {}
        for name in self.encoders:
            metric = IMAGE_METRICS[name]
            values[metric] = image_similarity(
                made.whole[name], np.stack([photo.whole[name] for photo in real])
            )
            if self.cutter is not None and made.segment is not None and cut:
                values["m" + metric] = image_similarity(
                    made.segment[name], np.stack([one[name] for one in cut])
                )
        if request.prompt and "clip" in self.encoders:
            values[TEXT_METRIC] = text_similarity(made.whole["clip"], self._text(request.prompt))
        return Score(
            score_id=request.score_id,
            values=values,
            found=None if self.cutter is None else made.segment is not None,
            reason=made.reason,
            num_real=len(real),
            num_real_found=None if self.cutter is None else len(cut),
            num_real_unreadable=unreadable,
        )

    def _real_photos(self, request: ScoreRequest) -> tuple[list[Seen], int]:
        """Those that can be read, and how many cannot. Raises ImageError when none can."""
        found: list[Seen] = []
        last: ImageError | None = None
        for photo in request.real:
            try:
                found.append(self._real_photo(photo, request))
            except ImageError as error:
                last = error
        if not found:
            raise last or ImageError(
                f"subject '{request.subject_id}': needs at least one real photo to compare with, got none",
                code="no_real_photo",
            )
        return found, len(request.real) - len(found)

    def _real_photo(self, photo: RealPhoto, request: ScoreRequest) -> Seen:
        key = photo.photo_id, request.class_name
        if key not in self._real:
            where = f"subject '{request.subject_id}': real photo '{photo.uri}'"
            self._real[key] = self._look(photo.uri, photo.mask, request.class_name, where)
            if len(self._real) > KEPT_PHOTOS:
                self._real.popitem(last=False)
        self._real.move_to_end(key)
        return self._real[key]

    def _look(self, uri: str, mask_uri: str | None, class_name: str, where: str) -> Seen:
        picture = decode_image(read_photo(uri, where, self.limits), where=where, limits=self.limits)
        mask = None
        if mask_uri:
            data = read_photo(mask_uri, f"{where}: mask", self.limits)
            mask = decode_mask(data, where=f"{where}: mask", limits=self.limits, size=picture.size)
        return self._see(picture, mask, class_name)

    def _see(self, picture: Image.Image, mask: Image.Image | None, class_name: str) -> Seen:
        whole = self._embed(_on_white(picture))
        if self.cutter is None:
            return Seen(whole=whole, segment=None, reason=None)
        cut = self.cutter.cut(picture, class_name=class_name, mask=mask)
        segment = self._embed(cut.picture) if cut.picture is not None else None
        return Seen(whole=whole, segment=segment, reason=cut.reason)

    def _embed(self, picture: Image.Image) -> Vectors:
        return {name: encoder.images([picture])[0] for name, encoder in self.encoders.items()}

    def _text(self, prompt: str) -> NDArray[np.float32]:
        if prompt not in self._texts:
            clip = self.encoders["clip"]
            assert isinstance(clip, ClipEncoder)
            self._texts[prompt] = clip.texts([prompt])[0]
        return self._texts[prompt]


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, (255, 255, 255))
    ground.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    return ground
