"""The choice that needs no weights: the best mask already there, else grabcut."""

from __future__ import annotations

from PIL import Image

from dreamcache.segment.alpha import AlphaSegmenter
from dreamcache.segment.file import MaskFileSegmenter
from dreamcache.segment.grabcut import GrabCutSegmenter
from dreamcache.segment.interface import Segment


class AutoSegmenter:
    """The catalog's mask if given (its word is final), else the photo's transparency, else grabcut."""

    def __init__(self) -> None:
        self._file = MaskFileSegmenter()
        self._alpha = AlphaSegmenter()
        self._grabcut = GrabCutSegmenter()

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        if mask is not None:
            return self._file(image, class_name, mask)
        own = self._alpha(image, class_name)
        return self._grabcut(image, class_name) if own.reason == "opaque" else own
