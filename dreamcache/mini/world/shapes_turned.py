"""Shapes turned on a wheel, or nearly: mug, bottle, vase, teapot, lamp. Proportions in, parts out."""

from collections.abc import Sequence

import numpy as np

from dreamcache.mini.world.parts import Piece, ellipse, outline, smooth, turned


def mug(p: Sequence[float]) -> list[Piece]:
    width, height, taper = 0.55 + 0.25 * p[0], 0.55 + 0.4 * p[1], 0.74 + 0.3 * p[2]
    reach, thick = 0.26 + 0.2 * p[3], 0.11 + 0.09 * p[4]
    loop = ellipse(width * (1 + taper) / 2 - 0.06, 0.0, reach + 0.06, height * (0.4 + 0.25 * p[5]), -95, 95)
    return [
        outline(loop, paint="second", stroke=thick),
        turned([(-height, width), (height, width * taper)], tilt=0.16, paint="surface"),
        outline(ellipse(0, -height, width, width * 0.24), paint="main", shade="top"),
        outline(ellipse(0, -height, width * 0.86, width * 0.17), paint="second", shade="inside"),
    ]


def bottle(p: Sequence[float]) -> list[Piece]:
    width, neck = 0.32 + 0.24 * p[0], 0.12 + 0.1 * p[1]
    shoulder, slope = -0.55 + 0.5 * p[2], 0.12 + 0.34 * p[3]
    top = shoulder - slope - 0.1 - 0.18 * p[4]
    waist = width * (1 - 0.22 * max(0.0, p[5] - 0.5) * 2)
    body = [(top, neck), (shoulder - slope, neck), (shoulder - 0.03, width * 0.97), (shoulder + 0.1, width),
            (0.45, waist), (0.8, width), (1.0, width * 0.97)]  # fmt: skip
    cap_width, cap_height = neck * (1.15 + 0.35 * p[6]), 0.14 + 0.14 * p[7]
    centre = (shoulder + 1.0) / 2
    return [
        turned(body, paint="surface", center=(0.0, centre), half=(width, (1.0 - shoulder) / 2)),
        turned([(top - cap_height, cap_width), (top + 0.03, cap_width)], paint="second"),
        outline(ellipse(0, top - cap_height, cap_width, cap_width * 0.22), paint="second", shade="top"),
    ]


def vase(p: Sequence[float]) -> list[Piece]:
    belly, neck = 0.48 + 0.34 * p[0], 0.14 + 0.26 * p[1]
    lip, foot = neck * (1.1 + 0.8 * p[2]), 0.2 + 0.26 * p[3]
    low = -0.1 + 0.55 * p[4]
    points = [
        (-1.0, lip),
        (-0.72 + 0.3 * p[5] * (low + 0.2), neck),
        (low, belly),
        (0.9, foot),
        (1.0, foot * 1.12),
    ]
    return [
        turned(points, smooth_to=26, paint="surface", center=(0.0, low), half=(belly, 0.72)),
        outline(ellipse(0, -1.0, lip, lip * 0.26), paint="second", shade="top"),
        outline(ellipse(0, -0.99, lip * 0.78, lip * 0.18), paint="dark", shade="inside"),
    ]


def teapot(p: Sequence[float]) -> list[Piece]:
    width, height = 0.58 + 0.14 * p[0], 0.42 + 0.22 * p[1]
    top, foot = 0.3 + 0.1 * p[2], 0.34 + 0.16 * p[3]
    body = [(-height, top), (-height * 0.7, width * (0.7 + 0.2 * p[4])), (0.05, width), (height * 0.75, width * 0.8),
            (height, foot)]  # fmt: skip
    rise = -height * (0.75 + 0.5 * p[5])
    spout = smooth([(-width * 0.75, 0.3), (-width - 0.22, 0.08), (-width - 0.4, rise), (-width - 0.2, rise - 0.02),
                    (-width - 0.08, -0.2), (-width * 0.75, -0.15)], 30, closed=True)  # fmt: skip
    handle = ellipse(width * 0.86, -0.03, 0.3 + 0.14 * p[6], height * 0.72, -110, 110)
    lid = -height - 0.1 - 0.12 * p[7]
    return [
        outline(handle, paint="second", stroke=0.12 + 0.06 * p[2]),
        outline(spout, paint="second", shade="ball"),
        turned(body, smooth_to=24, paint="surface"),
        outline(np.concatenate([ellipse(0, -height + 0.02, top * 1.08, -(lid + height), 180, 360)]), paint="second",
                shade="ball"),
        outline(ellipse(0, lid - 0.05, 0.09, 0.09), paint="accent", shade="ball"),
    ]  # fmt: skip


def lamp(p: Sequence[float]) -> list[Piece]:
    top, bottom, drop = 0.2 + 0.22 * p[0], 0.5 + 0.22 * p[1], 0.6 + 0.3 * p[2]
    foot, pole = 0.28 + 0.16 * p[3], 0.06 + 0.06 * p[4]
    base_y = 0.95
    parts = [outline([(0, -0.4), (0, base_y - 0.03)], paint="second", stroke=pole * 1.6, shade="round")]
    if p[5] > 0.5:  # a bellied foot instead of a plate
        belly = [(-0.1 + 0.3 * p[6], pole), (0.55, 0.2 + 0.16 * p[7]), (base_y, foot * 0.75)]
        parts.append(turned(belly, smooth_to=16, paint="second"))
    else:
        parts.append(outline(ellipse(0, base_y - 0.02, foot, 0.1), paint="second", shade="top"))
    shade = turned([(-1.0, top), (-1.0 + drop, bottom)], tilt=0.13, paint="surface")
    return [*parts, shade, outline(ellipse(0, -1.0, top, top * 0.2), paint="main", shade="top")]
