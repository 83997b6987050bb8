"""Segmenters without a model: the whole frame, the photo's transparency, the catalog's mask, and the best of these.

Knows masks that are already there; imports OpenCV only for an `AutoSegmenter` that falls back to grabcut. Reading the
mask file is the caller's part (`dreamcache.core.images.decode_mask`).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from dreamcache.core.errors import ImageError
from dreamcache.segment.interface import Segment, Segmenter

HALF = 128


class WholeFrame:
    """Everything is subject, the background included."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        return Segment.of_mask(np.ones((image.height, image.width), dtype=np.bool_))


class AlphaSegmenter:
    """Subject = pixels at least half opaque."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        if "A" not in image.getbands():
            return Segment.without_mask("opaque")
        solid = np.asarray(image.getchannel("A")) >= HALF
        if solid.all():
            return Segment.without_mask("opaque")
        return Segment.of_mask(solid) if solid.any() else Segment.without_mask("transparent")


class MaskFileSegmenter:
    """Subject = mask at least half white. Raises ImageError `mask_size_mismatch`."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        if mask is None:
            return Segment.without_mask("no_mask_given")
        if mask.size != image.size:
            wanted, got = (f"{width}x{height}" for width, height in (image.size, mask.size))
            raise ImageError(
                f"mask: it must have the photo's size, {wanted} pixels, got {got}; export it at that size",
                code="mask_size_mismatch",
            )
        return Segment.of_mask(np.asarray(mask.convert("L")) >= HALF)


class AutoSegmenter:
    """The catalog's mask if there is one (also where it is empty), else the photo's transparency, else `opaque`.

    opaque: the segmenter of photos without transparency; grabcut where it is None.
    """

    def __init__(self, opaque: Segmenter | None = None) -> None:
        if opaque is None:
            from dreamcache.segment.grabcut import GrabCutSegmenter

            opaque = GrabCutSegmenter()
        self._file = MaskFileSegmenter()
        self._alpha = AlphaSegmenter()
        self._opaque = opaque

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        if mask is not None:
            return self._file(image, class_name, mask)
        own = self._alpha(image, class_name)
        return self._opaque(image, class_name) if own.reason == "opaque" else own
