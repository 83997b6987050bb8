"""The object of a picture, cut out and put on white, so that scenes neither help nor hurt.

Two finders: the product's own segmenter `grabcut`, and the segmenter learned on this world. Each is used in every
arm alike, true renders included: what it costs can be read from those. Knows pictures only.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dreamcache.model.preprocess import packshot
from dreamcache.segment import SegmenterSet
from recipes.mini.measure.queries import SIDE

FINDERS = ("learned", "grabcut")
"""The first is the one that the card quotes."""
MARGIN = 0.05

Masks = list[np.ndarray | None]
Finder = Callable[[Sequence[Image.Image]], Masks]


def cut_out(picture: Image.Image, mask: np.ndarray | None) -> Image.Image:
    """The masked object in the middle of a white square of SIDE pixels; the whole picture where mask is None."""
    return packshot(picture, mask, size=SIDE, margin=MARGIN)


def finder(name: str, tools: Path, **training: int) -> Finder:
    """Masks [H, W] bool of pictures, None where nothing is found.

    tools: the folder of the learned segmenter; training: renders and epochs of it, where it is not there yet.
    """
    if name == "grabcut":
        segmenters = SegmenterSet()
        return lambda pictures: [segmenters.segment(picture, name=name).mask for picture in pictures]
    from recipes.mini.measure.segmenter import LearnedSegmenter

    learned = LearnedSegmenter(tools / "segmenter.pt", **training)
    return lambda pictures: learned.masks(np.stack([np.asarray(picture) for picture in pictures]))


def overlap(mask: np.ndarray | None, true: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return 0.0 if mask is None else float((mask & true).sum() / max(1, (mask | true).sum()))
