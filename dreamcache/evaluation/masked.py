"""Segments for the masked metrics (Supp S2.1): the subject alone on white, nothing of its surroundings.

A segment depends on the pixels inside the mask and on the mask itself, on nothing else. An image in which
nothing is found has no segment and a reason; what follows of that is the caller's to count. Knows segmenters.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.model.preprocess import packshot
from dreamcache.segment import SegmenterSet


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cut:
    """picture: RGB square of `segment_size`, or None with the segmenter's reason."""

    picture: Image.Image | None
    reason: str | None = None


class Cutter:
    """Cuts subjects out with one segmenter and one group of settings."""

    def __init__(self, settings: MetricSettings, segmenters: SegmenterSet) -> None:
        if settings.segmenter is None:
            raise ValueError("settings must name a segmenter")
        self.settings = settings
        self.name = settings.segmenter
        self.segmenters = segmenters

    def cut(self, image: Image.Image, *, class_name: str, mask: Image.Image | None = None) -> Cut:
        """The subject of an upright RGB(A) image, centred at its own aspect.

        mask: a given one, read by the segmenters "file" and "auto" only. Raises ImageError for one of another size.
        """
        found = self.segmenters.segment(image, name=self.name, class_name=class_name, mask=mask)
        if found.mask is None:
            return Cut(picture=None, reason=found.reason)
        size, margin = self.settings.segment_size, self.settings.margin
        return Cut(picture=packshot(image, found.mask, size=size, margin=margin))
