"""Count and completeness of an object by its mask: pieces, and its outline laid over the reference's.

    masks --scaled to one area--> every turn and size of a few --cross-correlation--> the best position --> IoU

A part that is missing, covered or cut off by the frame lowers the IoU, as another view of the product does. Knows
masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 160
"""Of the grid on which outlines are compared."""
MOST_SIDE = 512
"""Of a mask that is kept: a photo may have 50 million pixels."""
OBJECT_SIDE = 72.0
"""Square root of an object's area on it."""
TURNS = tuple(range(-20, 21, 4))
"""Degrees."""
SIZES = (0.92, 0.96, 1.0, 1.04, 1.08)
LEAST_PIECE = 0.2
"""Of the largest piece's area: smaller ones are crumbs of a mask, not objects."""

Mask = NDArray[np.bool_]


def reduced(mask: Mask) -> Mask:
    """A copy of at most MOST_SIDE a side, with at least one pixel where the mask has one."""
    scale = MOST_SIDE / max(mask.shape)
    if scale >= 1:
        return mask
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    shares = np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    return shares >= min(0.5, float(shares.max()) or 1.0)


def count_of(mask: Mask) -> int:
    """Separate objects in a mask [h, w]; 0 for an empty one."""
    number, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if number < 2:
        return 0
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas >= LEAST_PIECE * areas.max()).sum())


def completeness(reference: Mask, image: Mask) -> float:
    """IoU of two outlines at the best position, turn and size: 1 for equal ones. Both hold at least one pixel."""
    target = _Outline.of(reference).placed(0.0, 1.0)
    area, frequencies, best = float(target.sum()), np.fft.rfft2(target), 0.0
    other = _Outline.of(image)
    for turn in TURNS:
        for size in SIZES:
            laid = other.placed(float(turn), size)
            common = float(np.fft.irfft2(frequencies * np.conj(np.fft.rfft2(laid)), (SIDE, SIDE)).max())
            best = max(best, common / max(area + float(laid.sum()) - common, 1.0))
    return min(best, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Outline:
    """A mask as float32, the middle of its pixels (x, y), and the square root of their number."""

    mask: NDArray[np.float32]
    centre: tuple[float, float]
    object_side: float

    @staticmethod
    def of(mask: Mask) -> _Outline:
        rows, columns = np.nonzero(mask)
        centre = (float(columns.mean()), float(rows.mean()))
        return _Outline(mask=mask.astype(np.float32), centre=centre, object_side=float(np.sqrt(len(rows))))

    def placed(self, turn: float, size: float) -> NDArray[np.float32]:
        """As 0 and 1 [SIDE, SIDE], its area OBJECT_SIDE squared times size squared, its centre in the middle.

        What is so long that it leaves the grid is cut off.
        """
        scale = OBJECT_SIDE * size / self.object_side
        matrix: Any = cv2.getRotationMatrix2D(self.centre, turn, scale)
        matrix[:, 2] += SIDE / 2 - np.array(self.centre)
        source: Any = self.mask
        if scale < 0.5:  # a larger photo: its pixels are averaged first, so that thin parts stay
            share = 2 * scale
            source = cv2.resize(source, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            # Positions count from the middle of the first pixel, which is another point in the smaller copy.
            matrix[:, 2] += matrix[:, :2].sum(axis=1) * (0.5 / share - 0.5)
            matrix[:, :2] /= share
        laid = cv2.warpAffine(source, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        return (np.asarray(laid) >= 0.5).astype(np.float32)
