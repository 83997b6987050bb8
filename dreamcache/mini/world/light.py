"""Light on surfaces: how bright a point is, and how much it shines.

Arguments: u, v are surface coordinates in -1..1 (right, down), `light` is -1 (from the left) .. 1.
"""

import numpy as np

Array = np.ndarray


def shade_factor(shade: str, material: str, u: Array, v: Array, light: float) -> Array:
    """The factor [n] on a surface's own colour."""
    if shade == "side":
        return 0.66 - 0.08 * v
    if shade == "top":
        return 1.08 + 0.06 * u * light
    if shade == "inside":
        return 0.5 + 0.22 * u * -light + 0.1 * v
    if shade == "round":
        factor = 0.52 + 0.46 * np.sqrt(1.0 - u * u * 0.96) + 0.26 * u * light
    elif shade == "ball":
        factor = 0.6 + 0.4 * np.sqrt(np.clip(1.0 - 0.5 * u * u - 0.4 * v * v, 0, 1)) + 0.18 * (u * light - v)
    else:
        factor = 0.96 + 0.1 * u * light - 0.09 * v
    if material == "metal":
        factor = factor * (0.92 + 0.16 * np.cos(5.0 * (u - 0.4 * light)))
    lit: Array = factor
    return lit


def sheen(shade: str, material: str, u: Array, v: Array, light: float) -> Array:
    """The share [n] of white a highlight mixes in, 0..1."""
    place = 0.5 * light
    if material == "matte":
        return 0.05 * np.exp(-(((u - place) / 0.5) ** 2))
    strength, width = (0.55, 0.11) if material == "glossy" else (0.42, 0.17)
    if shade == "round":
        streak = np.exp(-(((u - place) / width) ** 2)) * (0.75 - 0.35 * v)
    elif shade == "ball":
        streak = np.exp(-(((u - place) / 0.24) ** 2) - ((v + 0.45) / 0.28) ** 2)
    else:
        streak = 0.42 * np.exp(-(((u + 0.5 * v - place) / (1.6 * width)) ** 2))
    return strength * streak
