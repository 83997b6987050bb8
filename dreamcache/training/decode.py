"""A sample's picture and mask, decoded no larger than the training needs.

    mask -> the subject's extent -> a JPEG at 1, 1/2, 1/4 or 1/8 of its size -> mask at that size

Knows pixels and the rules of `core.images`; knows nothing of where samples come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError
from dreamcache.core.images import decode_image, decode_mask

HALF = 128
LIMITS = ImageLimits()
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedSample:
    """A sample's pictures, upright, and its caption; masks are [H, W] bool.

    reference: the picture of its reference; `image` itself where the sample brings none. reference_id: names a
    reference that fills the frame as it is, "" for one that is cut out and placed at random.
    """

    image: Image.Image
    mask: Mask | None
    caption: str
    reference: Image.Image
    reference_mask: Mask | None
    reference_id: str = ""

    @property
    def framed(self) -> bool:
        """Whether the reference is a photo of its own that needs no cutting out."""
        return bool(self.reference_id)


def decode_picture(
    data: bytes, mask: bytes | None, where: str, side: int, *, is_cut: bool = True
) -> tuple[Image.Image, Mask | None]:
    """The upright image and its mask [H, W], of one size. Raises ImageError.

    side: pixels to which the centre square is scaled later; 0 decodes at full size. is_cut: the masked subject is
    scaled to as many, so that it must not become smaller than that.
    """
    marked: Mask | None = None

    def least_scale(size: tuple[int, int]) -> float:
        nonlocal marked
        marked = _marked(mask, where, size)
        extents = [min(size)]
        if marked is not None and is_cut:
            extents.append(max(int(np.ptp(np.flatnonzero(marked.any(axis)))) + 1 for axis in (0, 1)))
        return min(1.0, max(side / extent for extent in extents))

    image = decode_image(data, where=where, limits=LIMITS, least_scale=least_scale if side else None)
    if marked is None:
        return image, _marked(mask, where, image.size)
    if marked.shape != (image.height, image.width):
        cover = Image.fromarray(np.where(marked, 255, 0).astype(np.uint8))
        reduced = np.asarray(cover.resize(image.size, Image.Resampling.BOX)) >= HALF
        if not reduced.any():  # thin as a hair: only the full size shows it
            return decode_image(data, where=where, limits=LIMITS), marked
        marked = reduced
    return image, marked


def _marked(mask: bytes | None, where: str, size: tuple[int, int]) -> Mask | None:
    if mask is None:
        return None
    marked: Mask = np.asarray(decode_mask(mask, where=f"{where}, mask", limits=LIMITS, size=size)) >= HALF
    if not marked.any():
        raise ImageError(f"{where}: its mask is empty; fix or remove it", code="empty_mask")
    return marked
