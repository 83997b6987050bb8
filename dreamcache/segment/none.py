"""No segmentation: the whole frame is the subject."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dreamcache.segment.interface import Segment


class WholeFrame:
    """Everything is subject, the background included."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        return Segment.found(np.ones((image.height, image.width), dtype=np.bool_))
