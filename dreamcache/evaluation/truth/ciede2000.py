"""Colour difference as people see it: CIE Lab and CIEDE2000 (Sharma, Wu, Dalal 2005). Knows numbers only."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float64]
"""[..., 3]: lightness 0 to 100, a, b; white point D65."""

_POW25 = 25.0**7


def lab_of(rgb: NDArray[np.uint8]) -> Lab:
    """Lab [n, 3] of sRGB uint8 [n, 3]."""
    values: Any = cv2.cvtColor(
        (rgb.reshape(1, -1, 3) / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2Lab
    )
    return np.asarray(values.reshape(-1, 3), np.float64)


def ciede2000(one: Lab, other: Lab) -> NDArray[np.float64]:
    """The difference of two arrays of Lab colours, [..., 3] each, broadcast; 1 is hardly seen, 5 at a glance."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(np.asarray(lab, np.float64), -1, 0) for lab in (one, other))
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    grey = 1 + (1 - _saturating(chroma)) / 2
    c1, c2 = np.hypot(a1 * grey, b1), np.hypot(a2 * grey, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a * grey)) % 360 for a, b in ((a1, b1), (a2, b2)))
    both = c1 * c2 > 0
    turn = np.where(both, (h2 - h1 + 180) % 360 - 180, 0.0)
    # At exactly opposite hues the formula takes +180 where the second hue is the larger one.
    turn = np.where(both & (turn == -180) & (h2 > h1), 180.0, turn)
    hue_part = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    sum_of_hues = h1 + h2
    far = np.abs(h1 - h2) > 180
    h_mean = np.where(far, (sum_of_hues + np.where(sum_of_hues < 360, 360, -360)) / 2, sum_of_hues / 2)
    h_mean = np.where(both, h_mean, sum_of_hues)
    t = (
        1
        - 0.17 * np.cos(np.radians(h_mean - 30))
        + 0.24 * np.cos(np.radians(2 * h_mean))
        + 0.32 * np.cos(np.radians(3 * h_mean + 6))
        - 0.20 * np.cos(np.radians(4 * h_mean - 63))
    )
    light = 1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    parts = (
        (l2 - l1) / light,
        (c2 - c1) / (1 + 0.045 * c_mean),
        hue_part / (1 + 0.015 * c_mean * t),
    )
    rotation = -np.sin(np.radians(60 * np.exp(-(((h_mean - 275) / 25) ** 2)))) * 2 * _saturating(c_mean)
    squares = parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + rotation * parts[1] * parts[2]
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float64)


def _saturating(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Near 0 for greys, near 1 for strong colours."""
    return np.sqrt(chroma**7 / (chroma**7 + _POW25))
