"""Where a product that carries print must be on an image, and a segment without what stands around it.

    points of photo and image --similarity transform--> the photo's mask, laid over the image
    segment of the image      --where it holds far more--> its part inside, with a margin

Segmenters of salient objects take windows and houses behind a product with it. Without points in common, as on plain
products or on another side, a segment stays as it is. Knows masks and points; knows no scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamcache.provenance.local_features import Features, features_of, transform_between

MARGIN = 0.03
"""Of the object's side, by which its outline may miss the photo's: another pose, a softer mask."""
LEAST_MORE = 0.15
"""Of the object's area: a segment with less around it stays as it is."""
LEAST_COVERED = 0.6
"""Of the object's area: where the segment has less, the photo's outline is not the image's."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Print:
    """Points of a photo's object, and its mask [h, w] at the points' scale."""

    features: Features
    mask: Mask


def print_of(rgb: NDArray[np.uint8], mask: Mask) -> Print:
    """Of a photo, uint8 [h, w, 3], and its object's mask [h, w]."""
    features = features_of(rgb)
    small = _resized(mask, features.grey.shape)
    # Of a photo that is held, its points are enough.
    features = replace(features, grey=features.grey[:0], colours=features.colours[:0])
    if not len(features.points):
        return Print(features=features, mask=small)
    columns, rows = features.points.astype(int).T
    is_inside = small[rows.clip(0, small.shape[0] - 1), columns.clip(0, small.shape[1] - 1)]
    points, texts = features.points[is_inside], features.texts[is_inside]
    return Print(features=replace(features, points=points, texts=texts), mask=small)


def without_surroundings(rgb: NDArray[np.uint8], segment: Mask, photos: Sequence[Print]) -> Mask:
    """The segment [h, w] of an image, uint8 [h, w, 3], without what is far outside of a photo's object."""
    features = features_of(rgb)
    for photo in photos:
        transform = transform_between(photo.features, features)
        if transform is None:
            continue
        height, width = features.grey.shape
        laid = cv2.warpAffine(photo.mask.astype(np.uint8), transform, (width, height))
        area = float(laid.sum())
        side = max(1, round(MARGIN * float(np.sqrt(area))))
        wide = cv2.dilate(laid, np.ones((2 * side + 1, 2 * side + 1), np.uint8))
        inside, around = _resized(laid > 0, segment.shape), _resized(wide > 0, segment.shape)
        object_area = max(1, int(inside.sum()))
        covered, more = (segment & inside).sum() / object_area, (segment & ~around).sum() / object_area
        if covered >= LEAST_COVERED and more >= LEAST_MORE:
            return np.asarray(segment & around)
    return segment


def _resized(mask: Mask, shape: Sequence[int]) -> Mask:
    size: Any = (shape[1], shape[0])
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)) > 0
