"""Surface decoration: patterns and logos as functions of surface coordinates.

Coordinates are (s, t), right and down, about -1..1 over the surface. Knows no shapes, poses or scenes.
"""

from collections.abc import Callable

import numpy as np

from dreamcache.mini.world.design import Design

Array = np.ndarray


def surface_colors(design: Design, s: Array, t: Array) -> Array:
    """Colours, [n, 3] in 0..255, of the surface points (s, t), each [n]."""
    index = _PATTERNS[design.pattern](s, t, design.pattern_count).astype(np.intp)
    if design.logo is not None:
        x, y = s / design.logo_size, (t - 0.02) / design.logo_size
        index[_LOGOS[design.logo](x, y)] = 2
    return np.array(design.colors, dtype=np.float32)[index]


def _stripes(value: Array, count: int) -> Array:
    return np.floor((value + 1.0) * (count + 0.5)) % 2


def _dots(s: Array, t: Array, count: int) -> Array:
    pitch = 1.9 / (count + 0.4)
    row = np.floor(t / pitch + 0.5)
    x = s / pitch + 0.5 * (row % 2)
    return np.hypot(x - np.floor(x + 0.5), t / pitch - row) < 0.34


def _checker(s: Array, t: Array, count: int) -> Array:
    pitch = 2.0 / (count + 1)
    return (np.floor(s / pitch + 0.5) + np.floor(t / pitch + 0.5)) % 2


_PATTERNS: dict[str, Callable[[Array, Array, int], Array]] = {
    "plain": lambda s, t, n: np.zeros(s.shape),
    "horizontal stripes": lambda s, t, n: _stripes(t, n),
    "vertical stripes": lambda s, t, n: _stripes(s, n),
    "diagonal": lambda s, t, n: _stripes((s + t) * 0.7, n),
    "band": lambda s, t, n: np.abs(t - 0.05) < 0.16 + 0.06 * n,
    "dots": _dots,
    "checker": _checker,
    "two-tone": lambda s, t, n: (t > 0.0) if n % 2 else (s > 0.0),
}


def _star(x: Array, y: Array) -> Array:
    sector = 2 * np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    radius = np.hypot(x, y) / 1.15
    # the edge of one ray: a line from its tip (radius 1) to the notch (radius 0.45, half a sector on)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    nx, ny = 0.45 * np.cos(sector / 2), 0.45 * np.sin(sector / 2)
    inside: Array = (px - 1.0) * ny - py * (nx - 1.0) < 0.0
    return inside


def _heart(x: Array, y: Array) -> Array:
    x, y = x * 1.12, 0.15 - y * 1.12
    return (x * x + y * y - 1.0) ** 3 - x * x * y**3 < 0.0


_LOGOS: dict[str, Callable[[Array, Array], Array]] = {
    "circle": lambda x, y: x * x + y * y < 0.92,
    "star": _star,
    "heart": _heart,
    "triangle": lambda x, y: (y < 0.75) & (y > 1.9 * np.abs(x) - 1.0),
    "diamond": lambda x, y: np.abs(x) * 1.15 + np.abs(y) < 1.15,
    "ring": lambda x, y: (x * x + y * y < 1.1) & (x * x + y * y > 0.3),
}
