"""The ground around a subject in a feature map: few vectors stand for its many positions.

    map [C, h, w], where the subject is --k-means over the other positions--> vectors [C, K], a vector for each position

The packshot's ground is white, and its hidden states repeat. Knows arrays; knows nothing of files or models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamcache.storage.packed import Ground, Values

ROUNDS = 8


def ground_of(values: Values, subject: NDArray[np.bool_] | None, count: int) -> Ground:
    """At most `count` vectors for the positions of `values` [C, h, w] where no subject is.

    subject: [H, W] of the encoded picture, H >= h and W >= w; None for everywhere. A position that shows any of it is
    the subject's.
    """
    height, width = values.shape[1:]
    owners = np.zeros((height, width), dtype=np.uint8)
    if subject is None:
        return Ground(vector_of=owners, vectors=values.reshape(len(values), -1)[:, :0])
    is_ground = ~_widened(_on_grid(subject, height, width))
    positions = values[:, is_ground].T
    centres, nearest = _k_means(positions, min(count, len(positions)))
    owners[is_ground] = nearest + 1
    return Ground(vector_of=owners, vectors=np.ascontiguousarray(centres.T))


def _on_grid(subject: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    rows = np.arange(height) * subject.shape[0] // height
    columns = np.arange(width) * subject.shape[1] // width
    by_row = np.logical_or.reduceat(subject, rows, axis=0)
    grid: NDArray[np.bool_] = np.logical_or.reduceat(by_row, columns, axis=1)
    return grid


def _widened(grid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With the neighbours of each position: hidden states there still show the subject's edge."""
    height, width = grid.shape
    padded = np.pad(grid, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    wide: NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return wide[:height, :width]


def _k_means(positions: Values, count: int) -> tuple[Values, NDArray[np.intp]]:
    """(centres [K, C], the centre of each position). Starts from the farthest points, so it needs no chance."""
    if count == 0:
        return positions, np.zeros(len(positions), dtype=np.intp)
    centres = _farthest(positions, count)
    nearest = _nearest(positions, centres)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, positions)
        sizes = np.bincount(nearest, minlength=count).astype(np.float32)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
        nearest = _nearest(positions, centres)
    return centres, nearest


def _farthest(positions: Values, count: int) -> Values:
    """The position nearest the mean, then always the one that is farthest from all before it."""
    chosen = [int(_distances(positions, positions.mean(axis=0)).argmin())]
    away = _distances(positions, positions[chosen[0]])
    while len(chosen) < count:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, _distances(positions, positions[chosen[-1]]))
    return positions[chosen]


def _nearest(positions: Values, centres: Values) -> NDArray[np.intp]:
    # |x - c|^2 without |x|^2, which is the same for every centre.
    scores = (centres**2).sum(axis=1) - 2 * positions @ centres.T
    nearest: NDArray[np.intp] = scores.argmin(axis=1)
    return nearest


def _distances(positions: Values, centre: Values) -> Values:
    away: Values = ((positions - centre) ** 2).sum(axis=1)
    return away
