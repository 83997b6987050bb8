"""Pieces: what a product is rendered from, and the curves that outline them.

Object coordinates: x right, y down, any unit (the renderer fits the whole product to its pose).
Knows geometry only; colours, light and pixels are the renderer's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Point = tuple[float, float]
Profile = tuple[tuple[float, ...], tuple[float, ...]]  # heights (rising) and half widths of a turned body


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One filled outline (stroke 0) or one thick line (stroke > 0), painted over the parts before it."""

    points: np.ndarray  # [n, 2]
    paint: str = "main"  # "surface" (pattern and logo) | "main" | "second" | "accent" | "white" | "dark"
    shade: str = "flat"  # "flat" | "round" (turned about the vertical) | "ball" | "side" | "top" | "inside"
    stroke: float = 0.0
    center: Point = (0.0, 0.0)  # of the surface coordinates
    half: Point = (1.0, 1.0)  # half width and half height of the surface
    profile: Profile | None = field(default=None)  # half width by height, where it is not constant
    bend: float = 0.0  # how far horizontal lines sag at the middle, as a share of the half width


def outline(points: Sequence[Point] | np.ndarray, **more: object) -> Piece:
    """A part whose surface coordinates span its own bounding box."""
    array = np.asarray(points, dtype=np.float64)
    low, high = array.min(axis=0), array.max(axis=0)
    center, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-3)
    settings = {"center": (center[0], center[1]), "half": (half[0], half[1])} | more
    return Piece(points=array, **settings)  # type: ignore[arg-type]


def turned(profile: Sequence[Point], *, tilt: float = 0.12, smooth_to: int = 0, **more: object) -> Piece:
    """A body turned about the vertical axis, seen a little from above: (height, half width) from top to bottom."""
    array = np.asarray(profile, dtype=np.float64)
    if smooth_to:
        array = smooth(array, smooth_to)
    heights, widths = array[:, 0], np.maximum(array[:, 1], 1e-3)
    angles = np.linspace(0.0, np.pi, 13)[1:-1]
    bottom = np.stack([widths[-1] * np.cos(angles), heights[-1] + tilt * widths[-1] * np.sin(angles)], axis=1)
    right = np.stack([widths, heights], axis=1)
    left = np.stack([-widths, heights], axis=1)[::-1]
    half = (float(widths.max()), float(heights[-1] - heights[0]) / 2)
    settings: dict[str, object] = {
        "shade": "round", "center": (0.0, float(heights[0]) + half[1]), "half": half, "bend": tilt,
        "profile": (tuple(heights), tuple(widths)),
    } | more  # fmt: skip
    return Piece(points=np.concatenate([right, bottom, left]), **settings)  # type: ignore[arg-type]


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> np.ndarray:
    """Points of an arc, angles in degrees, 0 to the right, growing clockwise on the screen."""
    angles = np.radians(np.linspace(start, end, 28))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def rounded(
    x0: float, y0: float, x1: float, y1: float, radius: float, top_radius: float | None = None
) -> np.ndarray:
    """A rectangle with rounded corners."""
    top = radius if top_radius is None else top_radius
    corners = [(x1 - top, y0 + top, top, 270), (x1 - radius, y1 - radius, radius, 0),
               (x0 + radius, y1 - radius, radius, 90), (x0 + top, y0 + top, top, 180)]  # fmt: skip
    arcs = [ellipse(x, y, r, r, a, a + 90)[::5] for x, y, r, a in corners]
    return np.concatenate(arcs)


def smooth(points: Sequence[Point] | np.ndarray, count: int, closed: bool = False) -> np.ndarray:
    """A Catmull-Rom curve through the points, `count` points long."""
    array = np.asarray(points, dtype=np.float64)
    if closed:
        array = np.concatenate([array[-1:], array, array[:2]])
    else:
        array = np.concatenate([2 * array[:1] - array[1:2], array, 2 * array[-1:] - array[-2:-1]])
    position = np.linspace(0, len(array) - 3, count, endpoint=not closed)
    first = np.minimum(position.astype(int), len(array) - 4)
    f = (position - first)[:, None]
    a, b, c, d = (array[first + k] for k in range(4))
    curve: np.ndarray = 0.5 * (
        2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3
    )
    return curve
