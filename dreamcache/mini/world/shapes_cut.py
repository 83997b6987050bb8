"""Shapes cut, sewn or joined: box, handbag, t-shirt, cap, sneaker, chair, backpack. Proportions in, parts out."""

from collections.abc import Sequence

import numpy as np

from dreamcache.mini.world.parts import Piece, ellipse, outline, rounded, smooth


def box(p: Sequence[float]) -> list[Piece]:
    w, h, d = 0.5 + 0.4 * p[0], 0.45 + 0.45 * p[1], 0.28 + 0.4 * p[2]
    dx, dy = d * 0.75, -d * 0.5
    front = outline([(-w, -h), (w, -h), (w, h), (-w, h)], paint="surface")
    side = [(w, -h), (w + dx, -h + dy), (w + dx, h + dy), (w, h)]
    lid = [(-w, -h), (w, -h), (w + dx, -h + dy), (-w + dx, -h + dy)]
    parts = [outline(side, paint="main", shade="side"), front, outline(lid, paint="second", shade="top")]
    if p[3] > 0.5:  # a tape over the lid
        t = 0.16 * w + 0.1 * w * p[4]
        tape = [(-t, -h), (t, -h), (t + dx, -h + dy), (-t + dx, -h + dy)]
        parts.append(outline(tape, paint="accent", shade="top"))
    return parts


def handbag(p: Sequence[float]) -> list[Piece]:
    top, bottom, h = 0.5 + 0.3 * p[0], 0.66 + 0.26 * p[1], 0.36 + 0.32 * p[2]
    y = 0.25
    grip = ellipse(0, y - h + 0.02, top * (0.45 + 0.35 * p[3]), 0.35 + 0.4 * p[4], 180, 360)
    corner = bottom - 0.1
    body = [(-top, y - h), (top, y - h), (bottom, y + h - 0.1), (corner, y + h), (-corner, y + h),
            (-bottom, y + h - 0.1)]  # fmt: skip
    parts = [outline(grip, paint="second", stroke=0.09 + 0.06 * p[5]), outline(body, paint="surface")]
    if p[6] > 0.55:  # a flap with a clasp
        drop = h * 0.7
        flap = np.concatenate(
            [[(-top, y - h), (top, y - h)], ellipse(0, y - h + 0.1, top * 1.02, drop, 0, 180)]
        )
        parts.append(outline(flap, paint="second"))
        parts.append(outline(ellipse(0, y - h + drop, 0.1, 0.1), paint="accent", shade="ball"))
    else:
        parts.append(
            outline([(-top, y - h), (top, y - h), (top, y - h + 0.12), (-top, y - h + 0.12)], paint="second")
        )
    return parts


def t_shirt(p: Sequence[float]) -> list[Piece]:
    w, h = 0.46 + 0.16 * p[0], 0.78 + 0.2 * p[1]
    reach, cuff = 0.3 + 0.28 * p[2], 0.26 + 0.1 * p[3]
    drop, neck, hem = 0.42 + 0.3 * p[4], 0.2 + 0.08 * p[5], w * (0.95 + 0.2 * p[6])
    right = np.array(
        [(w * 0.72, -h), (w + reach, -h + drop), (w + reach - cuff, -h + drop + 0.24), (w, -h + cuff + 0.24)]
    )
    sleeve_paint = "second" if p[7] > 0.45 else "main"
    body = [(-w * 0.8, -h), (-neck, -h - 0.08), (neck, -h - 0.08), (w * 0.8, -h), (w, -h + 0.4), (hem, h), (-hem, h),
            (-w, -h + 0.4)]  # fmt: skip
    surface = {"center": (0.0, 0.05), "half": (w, h)}
    return [
        outline(right, paint=sleeve_paint, shade="side"),
        outline(right * [-1, 1], paint=sleeve_paint),
        outline(body, paint="surface", **surface),
        outline(ellipse(0, -h - 0.08, neck, 0.17), paint="second"),
        outline(ellipse(0, -h - 0.1, neck * 0.7, 0.1), paint="dark", shade="inside"),
    ]


def cap(p: Sequence[float]) -> list[Piece]:
    w, h = 0.58 + 0.14 * p[0], 0.56 + 0.3 * p[1]
    reach, droop = 0.5 + 0.3 * p[2], 0.1 + 0.2 * p[3]
    dome = np.concatenate([ellipse(0, 0.2, w, h, 180, 360), [(w, 0.34), (-w, 0.34)]])
    brim = smooth([(w * 0.1, 0.3), (w, 0.14), (w + reach, 0.3 + droop), (w + reach * 0.8, 0.4 + droop), (w * 0.5, 0.46),
                   (w * 0.1, 0.42)], 30, closed=True)  # fmt: skip
    surface = {"center": (-0.03, -0.08), "half": (w, h * 0.75)}
    parts = [
        outline(ellipse(0, 0.2 - h, 0.1, 0.07), paint="accent"),
        outline(dome, paint="surface", shade="ball", **surface),
    ]
    if p[4] > 0.5:  # a sweat band
        parts.append(outline([(-w, 0.2), (w, 0.2), (w, 0.36), (-w, 0.36)], paint="second", shade="side"))
    return [*parts, outline(brim, paint="second", shade="top")]


def sneaker(p: Sequence[float]) -> list[Piece]:
    high, toe = 0.3 + 0.5 * p[0], 0.2 + 0.12 * p[1]
    sole = 0.13 + 0.12 * p[2]
    opening = -0.3 + 0.18 * p[3]
    upper = smooth([(-0.95, 0.4), (-0.98, 0.05), (-0.9, -high), (opening, -high + 0.04), (opening + 0.12, -0.12),
                    (0.45, 0.14), (0.9, 0.26), (1.0, 0.45), (0.4, 0.5), (-0.5, 0.5)], 54, closed=True)  # fmt: skip
    tip = smooth(
        [(1.02 - toe * 2, 0.46), (1.0 - toe * 1.7, 0.2), (0.86, 0.22), (1.01, 0.44)], 20, closed=True
    )
    bottom = rounded(-1.02, 0.42, 1.08, 0.42 + sole * 2, 0.09)
    heel = smooth([(-0.97, 0.42), (-1.0, 0.0), (-0.72, -0.05), (-0.62, 0.42)], 20, closed=True)
    laces = [
        outline([(opening + 0.1 + 0.17 * k, -0.2 + 0.14 * k), (opening + 0.3 + 0.17 * k, -0.02 + 0.1 * k)],
                paint="white", stroke=0.075)
        for k in range(3)
    ]  # fmt: skip
    surface = {"center": (-0.36, 0.18 - high * 0.25), "half": (0.6, 0.42 + high * 0.3)}
    return [
        outline(
            ellipse((opening - 0.9) / 2, -high + 0.04, (opening + 0.9) / 2, 0.1), paint="dark", shade="inside"
        ),
        outline(upper, paint="surface", **surface),
        outline(heel, paint="second"),
        outline(tip, paint="second" if p[4] > 0.4 else "white", shade="ball"),
        outline(bottom, paint="white" if p[5] > 0.5 else "accent"),
        *laces,
    ]


def chair(p: Sequence[float]) -> list[Piece]:
    w, back, leg = 0.42 + 0.2 * p[0], 0.7 + 0.3 * p[1], 0.5 + 0.3 * p[2]
    stroke, depth, thick = 0.1 + 0.07 * p[3], 0.2 + 0.1 * p[4], 0.1 + 0.1 * p[5]
    radius = 0.03 + 0.3 * w * p[6]
    legs = [outline([(x, depth), (x * 1.06, depth + leg * length)], paint="second", stroke=stroke, shade=shade)
            for x, length, shade in ((-w * 0.78, 0.8, "side"), (w * 0.78, 0.8, "side"), (-w * 1.02, 1.2, "flat"),
                                     (w * 1.02, 1.2, "flat"))]  # fmt: skip
    panel = outline(rounded(-w, -back, w, 0.0, 0.03, radius), paint="surface")
    posts = [outline([(x, -0.1), (x, 0.12)], paint="second", stroke=stroke) for x in (-w * 0.8, w * 0.8)]
    lift = 0.14
    seat = [(-w, lift - 0.06), (w, lift - 0.06), (w * 1.2, depth + 0.16), (-w * 1.2, depth + 0.16)]
    edge = [
        (-w * 1.2, depth + 0.16),
        (w * 1.2, depth + 0.16),
        (w * 1.2, depth + 0.16 + thick),
        (-w * 1.2, depth + 0.16 + thick),
    ]
    seat_paint = "main" if p[7] > 0.5 else "second"
    return [*legs[:2], *posts, panel, *legs[2:], outline(seat, paint=seat_paint, shade="top"),
            outline(edge, paint=seat_paint, shade="side")]  # fmt: skip


def backpack(p: Sequence[float]) -> list[Piece]:
    w, h, top = 0.52 + 0.18 * p[0], 0.72 + 0.2 * p[1], 0.2 + 0.28 * p[2]
    pocket_w, pocket_h = w * (0.62 + 0.25 * p[3]), h * (0.26 + 0.14 * p[4])
    straps = [outline(ellipse(side * w * 0.95, 0.1, 0.2, h * 0.6, *arc), paint="second", stroke=0.12 + 0.05 * p[5],
                      shade="side") for side, arc in ((-1, (90, 270)), (1, (-90, 90)))]  # fmt: skip
    grip = outline(ellipse(0, -h, 0.2, 0.2, 180, 360), paint="second", stroke=0.1)
    body = outline(
        rounded(-w, -h, w, h, 0.16, top), paint="surface", center=(0.0, -h * 0.28), half=(w, h * 0.72)
    )
    low = h - 0.1
    pocket = outline(rounded(-pocket_w, low - 2 * pocket_h, pocket_w, low, 0.1, 0.12), paint="second")
    zip_y = low - 2 * pocket_h + 0.14
    zipper = outline([(-pocket_w * 0.7, zip_y), (pocket_w * 0.7, zip_y)], paint="accent", stroke=0.06)
    return [*straps, grip, body, pocket, zipper]
