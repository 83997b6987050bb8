"""The object of a picture, cut out and put on white, so that scenes neither help nor hurt.

Generated pictures have no true mask. The product's own segmenter finds the object, in every arm alike, true renders
included: what it costs can be read from those. Knows pictures only.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from dreamcache.model.preprocess import packshot
from dreamcache.segment import SegmenterSet
from recipes.mini.measure.questions import SIDE

SEGMENTER = "grabcut"
MARGIN = 0.05


def cut_out(picture: Image.Image, mask: np.ndarray | None) -> Image.Image:
    """The masked object in the middle of a white square of SIDE pixels; the whole picture where mask is None."""
    return packshot(picture, mask, size=SIDE, margin=MARGIN)


def find_objects(pictures: Sequence[Image.Image]) -> list[np.ndarray | None]:
    """A mask [H, W] bool for each picture, None where nothing is found."""
    segmenters = SegmenterSet()
    return [segmenters.segment(picture, name=SEGMENTER).mask for picture in pictures]


def overlap(found: np.ndarray | None, true: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return 0.0 if found is None else float((found & true).sum() / max(1, (found | true).sum()))
