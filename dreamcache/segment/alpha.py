"""The photo's own transparency as the mask. Knows nothing of files or models."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dreamcache.segment.interface import Segment

HALF = 128


class AlphaSegmenter:
    """Subject = pixels at least half opaque."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        if "A" not in image.getbands():
            return Segment.nothing("opaque")
        solid = np.asarray(image.getchannel("A")) >= HALF
        if solid.all():
            return Segment.nothing("opaque")
        return Segment.found(solid) if solid.any() else Segment.nothing("transparent")
