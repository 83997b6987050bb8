"""Perceptual hashes: near for the same picture, far for another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dreamcache.mini.world.design import design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES
from dreamcache.provenance import hashes

SIDE = 128


def picture(seed: int) -> hashes.Pixels:
    scene = SCENES[seed % len(SCENES)]
    return render(design_from_seed(seed), pose=pose_from_seed(seed), scene=scene, scene_seed=seed, size=SIDE)[
        0
    ]


def distance(stored: hashes.Pixels, query: hashes.Pixels) -> int:
    return int(hashes.distances(hashes.hashes_of(stored)[None], hashes.hashes_of(query))[0])


def jpeg(rgb: hashes.Pixels) -> hashes.Pixels:
    return np.asarray(
        cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    )


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda rgb: cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA),
        lambda rgb: rgb[19:-19, 19:-19],
        lambda rgb: cv2.copyMakeBorder(rgb, 7, 7, 7, 7, cv2.BORDER_CONSTANT, value=(255, 255, 255)),
    ],
)
def test_a_changed_picture_stays_near(change: object) -> None:
    rgb = picture(1)
    assert distance(rgb, change(rgb)) <= 12  # type: ignore[operator]


def test_other_pictures_are_far() -> None:
    assert min(distance(picture(1), picture(seed)) for seed in range(2, 8)) > 12


def test_text_and_edges() -> None:
    value = hashes.hashes_of(picture(1))
    assert (hashes.from_text(hashes.as_text(value)) == value).all()
    for wrong in ("", "zz" * 32, "00"):
        with pytest.raises(ValueError, match=r"digits|hex"):
            hashes.from_text(wrong)
    for shape in ((1, 1, 3), (1, 500, 3)):
        assert hashes.hashes_of(np.zeros(shape, np.uint8)).shape == (4,)


@pytest.mark.parametrize("text", ["00" * 24 + " " * 16, "0" * 63, "G" * 64, "0" * 63 + "\n"])
def test_other_texts_are_no_hashes(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        hashes.from_text(text)
