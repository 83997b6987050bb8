"""Texture helpers for scenes: gradients, soft noise, and areas below a line. Pictures are float32 [n, n, 3], 0..255.

Everything is laid out in shares of the frame, so a scene looks the same at every size.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

Array = np.ndarray
Rgb = Sequence[float]


def axis(size: int) -> Array:
    """Pixel centres as shares of the frame, [size]."""
    return (np.arange(size, dtype=np.float32) + 0.5) / size


def flat(size: int, color: Rgb) -> Array:
    return np.broadcast_to(np.array(color, dtype=np.float32), (size, size, 3)).copy()


def gradient(size: int, top: Rgb, bottom: Rgb) -> Array:
    f = axis(size)[:, None]
    rows = np.array(top, dtype=np.float32) * (1 - f) + np.array(bottom, dtype=np.float32) * f
    return np.broadcast_to(rows[:, None, :], (size, size, 3)).copy()


def noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> Array:
    """Soft noise -1..1, [size, size], from a lattice of (rows, columns) random values."""
    lattice = Image.fromarray(rng.random(cells, dtype=np.float32) * 2 - 1)
    return np.asarray(lattice.resize((size, size), Image.Resampling.BICUBIC))


def grain(picture: Array, field: Array, strength: float) -> Array:
    """The picture with lighter and darker areas from a noise field."""
    return picture * (1 + strength * field)[:, :, None]


def mix(back: Array, front: Array | Rgb, weight: Array) -> Array:
    """`front` over `back` where weight [n, n] is 1."""
    color = np.asarray(front, dtype=np.float32)
    mixed: Array = back + (color - back) * weight[:, :, None]
    return mixed


def below(size: int, line: float | Array, soft: float = 0.012) -> Array:
    """Weight 1 below a line: one height, or one per column (shares of the frame)."""
    y = axis(size)[:, None]
    return np.broadcast_to(np.clip((y - np.asarray(line)) / soft + 0.5, 0, 1), (size, size))


def ridge(
    rng: np.random.Generator, size: int, height: float, rough: float, points: int, sharp: bool = True
) -> Array:
    """A skyline: one height per column."""
    peaks = height + rough * (rng.random(points) * 2 - 1)
    position = np.linspace(-0.05, 1.05, points)
    if sharp:
        return np.asarray(np.interp(axis(size), position, peaks), np.float32)
    return np.repeat(peaks, -(-size // points))[:size].astype(np.float32)


def blobs(rng: np.random.Generator, size: int, count: int, low: float, high: float, radius: float) -> Array:
    """Weight 1 inside `count` round spots whose centres lie between two heights."""
    x, y = axis(size)[None, :], axis(size)[:, None]
    weight = np.zeros((size, size), dtype=np.float32)
    for cx, cy, r in zip(
        rng.random(count), rng.uniform(low, high, count), rng.uniform(0.6, 1.3, count), strict=True
    ):
        np.maximum(weight, np.clip(1.5 - np.hypot(x - cx, y - cy) / (radius * r), 0, 1), out=weight)
    return weight


def tiles(
    size: int, across: float, rows: float, gap: float, shift: float = 0.5, phase: float = 0.0
) -> tuple[Array, Array]:
    """A bond of tiles: weight 1 on the tiles (0 on the gaps), and a number 0..1 per tile."""
    y = axis(size)[:, None] * rows + phase
    row = np.floor(y)
    x = axis(size)[None, :] * across + shift * (row % 2) + phase
    number = np.sin(row * 12.9898 + np.floor(x) * 78.233) * 43758.5453
    inside = np.minimum(np.minimum(x % 1, 1 - x % 1), np.minimum(y % 1, 1 - y % 1))
    return np.clip((inside - gap) * 12, 0, 1), number - np.floor(number)
