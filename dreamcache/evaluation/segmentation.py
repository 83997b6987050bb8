"""How well segmenters cut, where the truth is known: rendered products with exact masks on several kinds of ground.

    design, pose -> render -> photo and truth -> segmenter -> IoU

Knows the embedded model's world and the segmenter interface; knows nothing of jobs. Imports no torch by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.evaluation.bootstrap import BootstrapSettings, Interval, interval
from dreamcache.mini.world.design import HELD_OUT_FROM, design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES
from dreamcache.segment.factory import create_segmenter
from dreamcache.segment.interface import Segment

PLAIN = tuple(scene for scene in SCENES if scene.startswith("plain "))
TEXTURED = tuple(scene for scene in SCENES if scene not in PLAIN)
SMALL = "small in a scene"
GROUNDS = ("transparent", "white", "plain colour", "textured scene", SMALL)
OFFLINE = ("auto", "alpha", "grabcut", "none")
"""Segmenters that need no weights and no mask: `file` would receive the truth."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnownPhoto:
    """A photo whose subject is known: truth is [H, W] bool."""

    photo: Image.Image
    truth: NDArray[np.bool_]
    class_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterScore:
    """A segmenter on one kind of ground. iou: over all photos, 0 without a mask; found: photos with a mask."""

    segmenter: str
    ground: str
    photos: int
    found: int
    iou: Interval
    seconds: float


def known_photos(ground: str, count: int, *, size: int, seed: int = 0) -> Iterator[KnownPhoto]:
    """`count` held-out products, the same ones on every kind of ground; transparent photos are RGBA."""
    for number in range(count):
        design = design_from_seed(HELD_OUT_FROM + seed * 100_000 + number)
        pose = pose_from_seed(design.seed, centered=ground in ("transparent", "white"))
        if ground == SMALL:  # a third of the side, anywhere: no packshot, which is what grabcut assumes
            x, y = np.random.default_rng((design.seed, 0x5A11)).uniform(0.2, 0.8, 2)
            pose = replace(pose, scale=0.33, x=float(x), y=float(y))
        scenes = {"plain colour": PLAIN, "textured scene": TEXTURED, SMALL: TEXTURED}.get(ground)
        scene = scenes[number % len(scenes)] if scenes else None
        picture, mask = render(design, pose=pose, scene=scene, scene_seed=design.seed, size=size)
        photo = Image.fromarray(picture)
        if ground == "transparent":
            photo.putalpha(Image.fromarray(mask))
        yield KnownPhoto(photo=photo, truth=mask >= 128, class_name=design.class_name)


def intersection_over_union(segment: Segment, truth: NDArray[np.bool_]) -> float:
    """1 for the same mask, 0 for one beside the subject and for none."""
    if segment.mask is None:
        return 0.0
    return float((segment.mask & truth).sum() / (segment.mask | truth).sum())


def measure_segmenters(
    names: Sequence[str] = OFFLINE, *, count: int, size: int, seed: int = 0
) -> Iterator[SegmenterScore]:
    """Every segmenter on every kind of ground. Raises SpecError and ModelError as `create_segmenter` does."""
    for name in names:
        segmenter = create_segmenter(name)
        for ground in GROUNDS:
            scores: list[float] = []
            seconds, num_cut = 0.0, 0
            for known in known_photos(ground, count, size=size, seed=seed):
                started = time.perf_counter()
                segment = segmenter(known.photo, known.class_name)
                seconds += time.perf_counter() - started
                scores.append(intersection_over_union(segment, known.truth))
                num_cut += segment.mask is not None
            yield SegmenterScore(
                segmenter=name,
                ground=ground,
                photos=count,
                found=num_cut,
                iou=interval(scores, BootstrapSettings(seed=seed)),
                seconds=seconds / count,
            )
