"""GrabCut (OpenCV) without weights: right for packshots, a fair guess for other photos.

    photo --border--> background colours --distance--> first guess --GrabCut--> mask --clean--> mask

A plain background is flooded from the border, and GrabCut decides only along the outline: so white parts of a
product on white stay part of it. GrabCut decides alone about other backgrounds. Knows pixels; must not
know class names.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.images import on_white
from dreamcache.segment.interface import Segment

WORK_SIDE = 512
TEXTURED_SIDE = 256
LEAST, MOST = 0.005, 0.98
LEAST_TEXTURED = 0.01
PLAIN_SPREAD = 6.0

Array = NDArray[np.uint8]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class GrabCutSegmenter:
    """Background by its colours at the frame's border. Same photo, same mask, on every machine."""

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        pixels = _work_copy(image)
        lab = _lab(pixels)
        ring = _ring(lab.shape[:2])
        plain = _plain_background(lab, ring)
        subject = _cut_plain(pixels, lab, ring, plain) if plain is not None else _cut_textured(pixels)
        share = float(subject.mean())
        if share < LEAST:
            return Segment.without_mask("too_little_left")
        if share > MOST:
            return Segment.without_mask("no_background")
        full = cv2.resize(subject.astype(np.float32), image.size, interpolation=cv2.INTER_LINEAR) >= 0.5
        return Segment.of_mask(full)


def _work_copy(image: Image.Image) -> Array:
    """[h, w, 3] uint8 RGB on white, no side over WORK_SIDE."""
    ground = on_white(image)
    scale = min(1.0, WORK_SIDE / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    return np.asarray(ground.resize((width, height), Image.Resampling.BOX) if scale < 1.0 else ground).copy()


def _ring(shape: tuple[int, ...]) -> Bools:
    """The frame's border, 2 % of the shorter side wide."""
    wide = max(2, round(0.02 * min(shape)))
    ring = np.ones(shape, dtype=np.bool_)
    ring[wide:-wide, wide:-wide] = False
    return ring


def _plain_background(lab: Floats, ring: Bools) -> Floats | None:
    """[h, w] distance in Lab from a smooth background, if the border shows one; else None.

    A plane per channel follows the light's fall-off; refitting without outliers lets a product touch the
    border.
    """
    height, width = ring.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    terms = np.stack([np.ones_like(rows), rows / height, columns / width], axis=-1)
    at, colours = terms[ring], lab[ring]
    keep = np.linalg.norm(colours - np.median(colours, axis=0), axis=1) < 4 * PLAIN_SPREAD
    for _ in range(3):
        if keep.mean() < 0.6:
            return None
        plane, *_ = np.linalg.lstsq(at[keep], colours[keep], rcond=None)
        away = np.linalg.norm(colours - at @ plane, axis=1)
        keep = away < 2 * PLAIN_SPREAD
    if keep.mean() < 0.6 or float(np.percentile(away[keep], 90)) > PLAIN_SPREAD:
        return None
    distance: Floats = np.linalg.norm(lab - terms @ plane, axis=2).astype(np.float32)
    return distance


def _cut_plain(pixels: Array, lab: Floats, ring: Bools, distance: Floats) -> Bools:
    noise = float(np.percentile(distance[ring], 60))
    near = max(2.0, 3.0 * noise)
    steps = _steepness(lab)
    steep = max(1.5, 3.0 * float(np.percentile(steps[ring], 60)))
    # Soft shadows are far from the background's colour yet have no edge; the flood passes over them.
    open_ground = (distance < near) | ((distance < near + 12.0) & (steps < steep))
    closed = cv2.morphologyEx((~open_ground).astype(np.uint8), cv2.MORPH_CLOSE, _disc(2))
    subject = _clean(~_reached_from_border(closed == 0), least_part=0.08, fill=1.0)
    return _clean(_refine(pixels, subject), least_part=0.08, fill=1.0)


def _refine(pixels: Array, subject: Bools) -> Bools:
    """GrabCut in a band along the outline only."""
    band = 3
    inner = cv2.erode(subject.astype(np.uint8), _disc(band), borderValue=1)
    outer = cv2.dilate(subject.astype(np.uint8), _disc(1))
    if not inner.any() or outer.all():
        return subject
    guess = np.where(subject, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[inner == 1] = cv2.GC_FGD
    guess[outer == 0] = cv2.GC_BGD
    return _grabcut(pixels, guess, rounds=1)


def _cut_textured(pixels: Array) -> Bools:
    """Colours unlike the border's, near the middle, are the first guess; cut small, refined in full."""
    height, width = pixels.shape[:2]
    scale = min(1.0, TEXTURED_SIDE / max(height, width))
    side = max(1, round(width * scale)), max(1, round(height * scale))
    small: Array = cv2.resize(pixels, side, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    ring = _ring(small.shape[:2])
    # Subjects are often cut off by the lower edge of the frame, seldom by the others.
    ring[side[1] // 2 :, side[0] // 8 : side[0] - side[0] // 8] = False
    guess = np.where(_unlike_border(_lab(small), ring) > 0.38, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[ring] = cv2.GC_BGD
    if not (guess == cv2.GC_PR_FGD).any():
        return np.zeros((height, width), dtype=np.bool_)
    subject = _clean(_grabcut(small, guess, rounds=5), least_part=0.3, fill=0.05)
    smooth = cv2.resize(subject.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    subject = _clean(_refine(pixels, smooth >= 0.5), least_part=0.3, fill=0.05)
    rounded: Bools = cv2.medianBlur(subject.astype(np.uint8), 5) > 0
    # So small a part of a textured photo is a patch of another colour, not a product.
    return rounded if rounded.mean() >= LEAST_TEXTURED else np.zeros_like(rounded)


def _unlike_border(lab: Floats, ring: Bools) -> Floats:
    """[h, w] in [0, 1]: mostly by nearness to the middle, partly by colours that the border lacks."""
    height, width = ring.shape
    colours = lab[ring]
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    labels = np.zeros((len(colours), 1), np.int32)
    _, _, centres = cv2.kmeans(colours, min(6, len(colours)), labels, stop, 1, cv2.KMEANS_PP_CENTERS)
    unlike = np.min(np.linalg.norm(lab[:, :, None] - centres[None, None], axis=3), axis=2)
    unlike = cv2.GaussianBlur(unlike.astype(np.float32), (0, 0), 1.5)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    middle = np.exp(-(((rows / height - 0.5) / 0.4) ** 2) - ((columns / width - 0.5) / 0.4) ** 2)
    score: Floats = 0.3 * unlike / max(float(unlike.max()), 1e-6) + 0.7 * middle
    return score


def _grabcut(pixels: Array, guess: Array, rounds: int) -> Bools:
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cut, *_ = cv2.grabCut(
        pixels[:, :, ::-1].copy(), guess, (0, 0, 0, 0), *models, rounds, cv2.GC_INIT_WITH_MASK
    )
    subject: Bools = (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)
    return subject


def _steepness(lab: Floats) -> Floats:
    """[h, w] change of colour per pixel, the strongest over the channels."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
    steps: Floats = np.sqrt(across**2 + down**2).max(axis=2)
    return steps


def _reached_from_border(ground: Bools) -> Bools:
    """The part of `ground` connected with the frame's border."""
    padded = np.pad(ground, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(padded, connectivity=4)
    reached: Bools = (labels == labels[0, 0])[1:-1, 1:-1] & ground
    return reached


def _clean(mask: Bools, *, least_part: float, fill: float) -> Bools:
    """Without specks and holes.

    A further part (of a pair of shoes) stays if it is clear of the frame's edge and has `least_part` of the
    main part's area; holes up to `fill` of the whole area are filled.
    """
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(1))
    count, labels, stats, centres = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if count < 2:
        return np.zeros_like(mask)
    height, width = mask.shape
    boxes, areas = stats[1:, :4], stats[1:, cv2.CC_STAT_AREA]
    off_middle = ((centres[1:] / (width, height) - 0.5) ** 2).sum(axis=1)
    main = int(np.argmax(areas * np.exp(-4.0 * off_middle)))
    clear = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] < (width, height)).all(axis=1)
    keep = clear & (areas >= least_part * areas[main])
    keep[main] = True
    main_parts = np.isin(labels, 1 + np.flatnonzero(keep))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        _holes(main_parts).astype(np.uint8), connectivity=4
    )
    small = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] <= fill * main_parts.sum())
    result: Bools = main_parts | np.isin(labels, small)
    return result


def _holes(mask: Bools) -> Bools:
    holes: Bools = ~mask & ~_reached_from_border(~mask)
    return holes


def _lab(pixels: Array) -> Floats:
    return cv2.cvtColor(pixels.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB).astype(np.float32, copy=False)


def _disc(radius: int) -> Array:
    side = 2 * radius + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8, copy=False)
