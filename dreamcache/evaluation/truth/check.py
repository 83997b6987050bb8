"""The verb check: an image of a product becomes truth scores, each against the photos of its item.

Errors are values: a bad photo costs its own item. What follows from a photo is held, its fault too, so items sorted by
subject cut and read it once. With several photos, the one that an image is nearest to counts. Knows segmenters and the
measures; of thresholds, which are set, not their values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.config.quality import Check, QualitySettings
from dreamcache.core.errors import NO_ITEMS_FAULT, DreamCacheError, ImageError
from dreamcache.core.images import bounding_box, decode_image, decode_mask, on_white
from dreamcache.core.photo_sets import photos_of
from dreamcache.core.records import Request
from dreamcache.evaluation.truth import outline, palette, placement, words
from dreamcache.evaluation.truth.ciede2000 import Lab
from dreamcache.evaluation.truth.identity import segmenter_weights
from dreamcache.evaluation.truth.ocr import Line, Ocr, find_ocr
from dreamcache.segment import SegmenterSet
from dreamcache.storage.photo_results import PhotoResults
from dreamcache.storage.photos import read_reference

KEPT_PHOTOS = 128
AROUND = 0.05
"""Of the object's box, on each side of what is read."""
NO_SEGMENT = "no_reference_segment"

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """Scores of one image, None for what was not measured or cannot be; or a code and message and no scores.

    colour_difference: CIEDE2000 of the main colour that differs most. label_words: share of the reference's words
    found; label_state: read, no_words or unreadable. completeness: IoU of the outlines. count_difference: objects more
    than on the reference. contrast: standard deviation of the image's pixels, 0 to 127.5.
    """

    colour_difference: float | None = None
    label_words: float | None = None
    label_state: str | None = None
    completeness: float | None = None
    count_difference: int | None = None
    contrast: float | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """What is measured of one picture; None without its check, or without an object.

    mask: small (`outline.reduced`), of an image without what stands around the object. count: of objects in the whole
    segment. object_size: square root of the object's area, pixels of the picture. prints: of a photo.
    """

    mask: Mask | None = None
    count: int = 0
    prints: placement.Print | None = None
    object_size: float = 0.0
    pixels: Lab | None = None
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TruthReference:
    """A photo's view, and what follows from it alone."""

    view: View
    colours: palette.Palette | None
    words: tuple[words.Word, ...]


class TruthChecker:
    """Checks images of one job. Raises ModelError when OCR or segmenter of the settings cannot be used."""

    def __init__(
        self,
        settings: QualitySettings,
        *,
        device: str = "cpu",
        limits: ImageLimits | None = None,
        hosts: Sequence[CatalogHost] = (),
    ) -> None:
        """hosts: that https:// photos may be read from."""
        self.settings = settings
        self.checks: frozenset[Check] = settings.checks
        self.limits = limits or ImageLimits()
        self.hosts = hosts
        metrics = settings.metrics
        self._segmenters = SegmenterSet(metrics.segmenter_models, device=device)
        self._weights = segmenter_weights(metrics) if self._cuts else ""
        self._ocr = Ocr(find_ocr(settings.ocr or "")) if "label" in self.checks else None
        if self._ocr is not None:
            self._ocr.open()
        self._references: PhotoResults[tuple[str, str], TruthReference] = PhotoResults(KEPT_PHOTOS)

    @property
    def _cuts(self) -> bool:
        return bool(self.checks - {"contrast"})

    def check(self, request: Request, rgb: Pixels) -> Truth:
        """Of an image of the item, uint8 [height, width, 3]. StorageError and ModelError are everyone's fault."""
        try:
            return self._measure(request, rgb)
        except NO_ITEMS_FAULT:
            raise
        except DreamCacheError as error:
            return Truth(code=error.code, message=str(error))
        except Exception as error:  # noqa: BLE001 - one image must not end the others
            what = f"item {request.item_id[:12]}: {type(error).__name__}: {str(error)[:300]}"
            return Truth(code="score_error", message=f"{what}; report it, and leave the check out meanwhile")

    def _measure(self, request: Request, rgb: Pixels) -> Truth:
        # Of each channel: one flat colour has none, whichever colour it is.
        contrast = float(rgb.std(axis=(0, 1)).max()) if "contrast" in self.checks else None
        if not self._cuts:
            return Truth(contrast=contrast)
        references = [self._reference(photo) for photo in photos_of(request)]
        prints = [one.view.prints for one in references if one.view.prints is not None]
        view = self._view(Image.fromarray(rgb), None, request.class_name, prints)
        scores = [self._against(reference, view) for reference in references]
        return replace(nearest(scores, self.settings.truth_thresholds), contrast=contrast)

    def _against(self, reference: TruthReference, view: View) -> Truth:
        assert reference.view.mask is not None
        label = None
        if "label" in self.checks:
            label = words.compare(reference.words, view.lines, view.object_size)
        complete, more = None, None
        if "outline" in self.checks:
            more = view.count - reference.view.count
            complete = outline.completeness(reference.view.mask, view.mask) if view.mask is not None else 0.0
        colour = None
        if reference.colours is not None and reference.view.pixels is not None and view.pixels is not None:
            colour = palette.drift(reference.colours, reference.view.pixels, view.pixels)
        return Truth(
            colour_difference=colour,
            label_words=label.share if label else None,
            label_state=label.state if label else None,
            completeness=complete,
            count_difference=more,
        )

    def _reference(self, photo: Request) -> TruthReference:
        where = f"subject '{photo.subject_id}': image '{photo.image}'"
        key = photo.reference_id, photo.class_name
        return self._references.get_or(key, where, lambda: self._look(photo, where))

    def _look(self, photo: Request, where: str) -> TruthReference:
        data, mask_data = read_reference(photo, self.limits, self.hosts)
        picture = decode_image(data, where=where, limits=self.limits)
        mask = None
        if mask_data is not None:
            mask = decode_mask(mask_data, where=f"{where}: mask", limits=self.limits, size=picture.size)
        view = self._view(picture, mask, photo.class_name)
        if view.mask is None:
            raise ImageError(
                f"{where}: the checks of quality compare the subject alone, but quality.metrics.segmenter "
                f"{self.settings.metrics.segmenter} found nothing on it; give a mask, or use another segmenter",
                code=NO_SEGMENT,
            )
        return TruthReference(
            view=view,
            colours=palette.palette_of(view.pixels) if view.pixels is not None else None,
            words=words.words_of(view.lines, view.object_size),
        )

    def _view(
        self,
        picture: Image.Image,
        mask: Image.Image | None,
        class_name: str,
        prints: Sequence[placement.Print] | None = None,
    ) -> View:
        """prints: of an image's photos; None for a photo."""
        name = self.settings.metrics.segmenter
        assert name is not None  # the settings' rule
        segment = self._segmenters.segment(
            picture, name=name, class_name=class_name, mask=mask, weights=self._weights
        )
        if segment.mask is None:
            return View()
        rgb, whole = np.asarray(on_white(picture)), segment.mask
        cut = whole if prints is None else placement.without_surroundings(rgb, whole, prints)
        return View(
            mask=outline.reduced(cut),
            count=outline.count_of(outline.reduced(whole)) if "outline" in self.checks else 0,
            prints=placement.print_of(rgb, whole) if prints is None else None,
            object_size=float(np.sqrt(cut.sum())),
            pixels=palette.object_pixels(rgb, cut) if "colour" in self.checks else None,
            lines=tuple(self._ocr.read(_around(rgb, cut))) if self._ocr is not None else (),
        )


def _around(rgb: Pixels, mask: Mask) -> Pixels:
    """The picture's part with the object, and a little more: what stands in the background is not its print."""
    left, top, right, bottom = bounding_box(mask)
    cuts = []
    for first, end, length in ((top, bottom, mask.shape[0]), (left, right, mask.shape[1])):
        margin = round(AROUND * (end - first))
        cuts.append(slice(max(0, first - margin), min(length, end + margin)))
    return np.ascontiguousarray(rgb[cuts[0], cuts[1]])


def nearest(scores: Sequence[Truth], thresholds: Container[str]) -> Truth:
    """All scores of the one photo that an image is nearest to: by outline, then colour, print and number of objects.

    Photos that are alike by one are compared by the next: front and back of a pack have one outline. thresholds: names
    of the settings; what has no threshold counts only where nothing has one, since it is in no item id.
    """
    used = [CLOSENESS[name] for name in CLOSENESS if name in thresholds] or list(CLOSENESS.values())
    left = list(scores)
    for closeness, alike in used:
        best = max(closeness(one) for one in left)
        left = [one for one in left if closeness(one) >= best - alike]
    return max(left, key=lambda one: [closeness(one) for closeness, _ in used])


def _by_outline(one: Truth) -> float:
    return one.completeness if one.completeness is not None else -math.inf


def _by_colour(one: Truth) -> float:
    return -one.colour_difference if one.colour_difference is not None else -math.inf


def _by_print(one: Truth) -> float:
    """Print that cannot be read counts before a photo without any: else each blurred front would pass as a back."""
    states = (None, "no_words", "unreadable", "read")
    return states.index(one.label_state) + (one.label_words or 0.0)


def _by_count(one: Truth) -> float:
    return -abs(one.count_difference) if one.count_difference is not None else -math.inf


CLOSENESS: Mapping[str, tuple[Callable[[Truth], float], float]] = {
    "min_completeness": (_by_outline, 0.03),
    "max_colour_difference": (_by_colour, 2.0),
    "min_label_words": (_by_print, 0.0),
    "max_count_difference": (_by_count, 0.0),
}
"""By a score's threshold: how near an image is to a photo, and by how much photos that are alike differ: what another
pose moves."""
