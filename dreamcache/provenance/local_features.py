"""Whether two pictures show the same pixels, up to cropping, scaling, rotation, borders and encoding.

    points of both -> matches -> one similarity transform -> the stored picture laid over the other -> correlation

Points alone would also agree where one product stands in two pictures; pixels of the common area do not. Knows pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SIDE = 512
LEAST_SIDE = 8
NUM_POINTS = 800
DISTINCT = 0.8
"""A match must be nearer than the second best by this factor."""
TOLERANCE = 4.0
"""Pixels, at SIDE, by which a point may miss its place."""
LEAST_AGREEING = 12
LEAST_CORRELATION = 0.95
COLOUR_SIDE = 256
MOST_DIFFERENCE = 10.0
"""Mean over pixels and colours of the common area, of 255. Measured in docs/provenance.md."""
CLIPPED = 250
"""From here on a pixel may have been brighter, or is a plain ground."""
LEAST_UNCLIPPED = 0.05
"""Share of the common area that must be left to leave the others out."""
LEAST_COMMON = 0.2
"""Share of either picture that the common area must have."""
GRID = 64
"""Sides at which colours are compared."""
LEAST_CONTRAST = 2.0
"""Standard deviation of the colour that varies most, of 255."""
BLUR = 2.0
"""Pixels, so that encoding and scaling count for little."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """A picture at SIDE. grey: uint8 [h, w]; points: float32 [n, 2]; texts: uint8 [n, 32], None where n is 0.

    colours: uint8 [h', w', 3], the longer side at most COLOUR_SIDE.
    """

    grey: NDArray[np.uint8]
    colours: Pixels
    points: NDArray[np.float32]
    texts: Any


def features_of(rgb: Pixels) -> Features:
    """Of uint8 [height, width, 3], scaled so that its longer side is SIDE."""
    grey: Any = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    scale = SIDE / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    colours = scaled(rgb, COLOUR_SIDE)
    if min(size) < LEAST_SIDE:  # the detector's own steps would make it smaller than a pixel
        return Features(grey=grey, colours=colours, points=np.empty((0, 2), np.float32), texts=None)
    points, texts = cv2.ORB.create(NUM_POINTS, fastThreshold=7).detectAndCompute(grey, None)
    places = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
    return Features(grey=grey, colours=colours, points=places, texts=texts)


def scaled(rgb: Pixels, side: int) -> Pixels:
    """uint8 [height, width, 3], made smaller where its longer side is over `side`."""
    scale = side / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA), np.uint8)


def has_same_colours(one: Pixels, other: Pixels) -> bool:
    """Whether two pictures [height, width, 3] of one frame have the same colours; never where they are plain."""
    small = [
        cv2.resize(np.ascontiguousarray(rgb), (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32)
        for rgb in (one, other)
    ]
    if min(picture.std(axis=(0, 1)).max() for picture in small) < LEAST_CONTRAST:
        return False  # every plain picture has the same hash
    return _gap(*(picture.reshape(-1, 3) for picture in small)) <= MOST_DIFFERENCE


def is_same_picture(stored: Features, query: Features) -> bool:
    """Whether one picture is the other, changed as this module's first line says."""
    transform = transform_between(stored, query)
    if transform is None or correlation(stored, query, transform) < LEAST_CORRELATION:
        return False
    return colour_difference(stored, query, transform) <= MOST_DIFFERENCE


def colour_difference(stored: Features, query: Features, transform: NDArray[np.float64]) -> float:
    """Mean difference of colours in the common area, of 255, after one factor that makes both equally bright.

    Outlines alone would agree where two products of one shape stand on a plain ground.
    """
    scale_stored, scale_query = (max(one.colours.shape[:2]) / max(one.grey.shape) for one in (stored, query))
    laid_at = transform * scale_query
    laid_at[:, :2] /= scale_stored
    height, width = query.colours.shape[:2]
    laid, full = (
        cv2.warpAffine(pixels, laid_at, (width, height), flags=cv2.INTER_LINEAR)
        for pixels in (stored.colours, np.full(stored.colours.shape[:2], 255, np.uint8))
    )
    one, other = (
        cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), BLUR)[full == 255]
        for pixels in (laid, query.colours)
    )
    return _gap(one, other)


def _gap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of two lists of colours [n, 3], after one factor on all. Those near white are left out where others remain."""
    unclipped = other.max(axis=1) < CLIPPED
    if unclipped.mean() >= LEAST_UNCLIPPED:
        one, other = one[unclipped], other[unclipped]
    factor = float((one * other).sum() / max(1.0, (one * one).sum()))
    return float(np.abs(other - factor * one).mean())


def correlation(stored: Features, query: Features, transform: NDArray[np.float64]) -> float:
    """Of the pixels in the common area, -1 to 1; 0 where the two have too small an area in common."""
    height, width = query.grey.shape
    laid = cv2.warpAffine(stored.grey, transform, (width, height), flags=cv2.INTER_LINEAR)
    area = cv2.warpAffine(np.full(stored.grey.shape, 255, np.uint8), transform, (width, height)) == 255
    scale_squared = abs(float(np.linalg.det(transform[:, :2])))
    shares = (area.mean(), area.sum() / max(1.0, scale_squared * stored.grey.size))
    if min(shares) < LEAST_COMMON:
        return 0.0
    one, other = (
        cv2.GaussianBlur(grey.astype(np.float32), (0, 0), BLUR)[area] for grey in (laid, query.grey)
    )
    if one.std() < 1 or other.std() < 1:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def transform_between(stored: Features, query: Features) -> NDArray[np.float64] | None:
    """[2, 3] from the stored picture to the other; None unless enough points agree on it."""
    if min(len(stored.points), len(query.points)) < 2:
        return None
    pairs: Sequence[Any] = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(query.texts, stored.texts, k=2)
    matches = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < DISTINCT * pair[1].distance]
    if len(matches) < LEAST_AGREEING:
        return None
    source = stored.points[[match.trainIdx for match in matches]]
    target = query.points[[match.queryIdx for match in matches]]
    cv2.setRNGSeed(0)  # the same pair must give the same transform at every call
    transform, agree = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE
    )
    if transform is None or int(agree.sum()) < LEAST_AGREEING:
        return None
    return np.asarray(transform, np.float64)
