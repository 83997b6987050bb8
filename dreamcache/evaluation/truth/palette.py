"""Main colours of an object, and how far another picture of it is from them.

    pixels in the mask --k-means in Lab--> main colours of the reference
    pixels of the image --nearest main colour--> median of each group --CIEDE2000--> drift of each main colour

Medians of groups instead of a second palette: two runs of k-means on nearly equal pixels place their colours
differently. Light counts as colour: an image in evening light drifts as a whole. Knows pixels and masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamcache.evaluation.truth.ciede2000 import Lab, ciede2000, lab_of

MAX_PIXELS = 8_000
"""Of an object, evenly taken."""
COLOURS = 8
LEAST_SHARE = 0.08
"""Of the object: smaller colours are print, edges and highlights."""
SAME_COLOUR = 6.0
"""CIEDE2000 below which two colours of the palette are one."""
MISSING_SHARE = 0.25
"""A main colour that has less than this part of its share on the image is missing from it."""
EDGE = 0.01
"""Of the picture's side: so near its outline, an object's pixels are mixed with the ground."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Palette:
    """lab: [n, 3], the largest share first; shares: [n], of the object's pixels."""

    lab: Lab
    shares: NDArray[np.float64]


def object_pixels(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Lab:
    """Lab [n, 3] of the object's pixels, n at most MAX_PIXELS: without its edge, where there is an inside."""
    side = max(1, round(EDGE * max(mask.shape)))
    inner = cv2.erode(mask.astype(np.uint8), np.ones((2 * side + 1, 2 * side + 1), np.uint8)).astype(bool)
    pixels = rgb[inner if inner.any() else mask]
    step = -(-len(pixels) // MAX_PIXELS)
    return lab_of(np.ascontiguousarray(pixels[::step]))


def palette_of(pixels: Lab) -> Palette:
    """Main colours of Lab pixels [n, 3], n at least 1. Equal pixels give equal palettes."""
    count = min(COLOURS, len(pixels))
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.1)
    _, labels, _ = cv2.kmeans(pixels.astype(np.float32), count, None, criteria, 2, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    groups = np.asarray(labels).ravel()
    colours = [np.median(pixels[groups == one], axis=0) for one in range(count) if (groups == one).any()]
    shares = [float((groups == one).mean()) for one in range(count) if (groups == one).any()]
    colours, shares = _merged(colours, shares)
    main = [one for one in np.argsort(shares)[::-1] if shares[one] >= LEAST_SHARE] or [int(np.argmax(shares))]
    return Palette(
        lab=np.stack([colours[one] for one in main]), shares=np.array([shares[one] for one in main])
    )


def _merged(colours: list[Lab], shares: list[float]) -> tuple[list[Lab], list[float]]:
    """Nearest pairs joined until all colours differ: shades of one surface are one colour."""
    while len(colours) > 1:
        between = ciede2000(np.stack(colours)[:, None], np.stack(colours)[None])
        np.fill_diagonal(between, np.inf)
        one, other = divmod(int(np.argmin(between)), len(colours))
        if between[one, other] >= SAME_COLOUR:
            break
        total = shares[one] + shares[other]
        colours[one] = (colours[one] * shares[one] + colours[other] * shares[other]) / total
        shares[one] = total
        del colours[other], shares[other]
    return colours, shares


def drift(reference: Palette, reference_pixels: Lab, pixels: Lab) -> float:
    """CIEDE2000 by which the main colours of an image's object differ from those of the reference's.

    The largest over the main colours. Both sides are grouped by the reference's colours, so equal pixels give 0. A
    colour that the image lacks counts as far as its nearest pixels are.
    """
    groups, theirs = _groups(reference, reference_pixels), _groups(reference, pixels)
    drifts = []
    for number in range(len(reference.lab)):
        known, seen = reference_pixels[groups == number], pixels[theirs == number]
        if not len(known):
            continue
        centre = np.median(known, axis=0)
        if len(seen) / len(pixels) < MISSING_SHARE * len(known) / len(reference_pixels):
            distances = np.sort(ciede2000(centre, pixels))
            drifts.append(float(distances[: max(1, len(pixels) // 20)].mean()))
        else:
            drifts.append(float(ciede2000(centre, np.median(seen, axis=0))))
    return max(drifts)


def _groups(palette: Palette, pixels: Lab) -> NDArray[np.int64]:
    """[n]: the palette's nearest colour of each pixel, by its straight distance in Lab."""
    distances = ((pixels[:, None] - palette.lab[None]) ** 2).sum(axis=-1)
    return np.asarray(distances.argmin(axis=1))
