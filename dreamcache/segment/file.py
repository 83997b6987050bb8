"""The catalog's mask as the mask. Reading the file is the caller's part (`dreamcache.core.images.decode_mask`)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dreamcache.core.errors import ImageError
from dreamcache.segment.interface import Segment

HALF = 128


class MaskFileSegmenter:
    """Subject = mask at least half white. Raises ImageError `mask_size_mismatch`."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        if mask is None:
            return Segment.nothing("no_mask_given")
        if mask.size != image.size:
            wanted, got = (f"{width}x{height}" for width, height in (image.size, mask.size))
            raise ImageError(
                f"mask: it must have the photo's size, {wanted} pixels, got {got}; export it at that size",
                code="mask_size_mismatch",
            )
        return Segment.found(np.asarray(mask.convert("L")) >= HALF)
