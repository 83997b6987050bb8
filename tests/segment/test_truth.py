"""Segmenters where the truth is known: rendered products with exact masks, and the command that measures them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from dreamcache.evaluation.segmentation import (
    GROUNDS,
    OFFLINE,
    intersection_over_union,
    known_photos,
    measure_segmenters,
)
from dreamcache.segment.interface import Segment
from tests.command import dreamcache, error_of


def test_iou_by_hand() -> None:
    truth = np.zeros((4, 4), dtype=bool)
    truth[:2] = True
    half = np.zeros_like(truth)
    half[1:3] = True
    masks = {1.0: truth, 0.0: ~truth, 1 / 3: half}
    for wanted, mask in masks.items():
        assert intersection_over_union(Segment.of_mask(mask), truth) == pytest.approx(wanted)
    assert intersection_over_union(Segment.without_mask("opaque"), truth) == 0.0


@pytest.mark.parametrize("ground", GROUNDS)
def test_photos_are_the_same_again_and_hold_their_subject(ground: str) -> None:
    photos = list(known_photos(ground, 3, size=64))
    again = list(known_photos(ground, 3, size=64))
    for known, other in zip(photos, again, strict=True):
        assert known.photo.tobytes() == other.photo.tobytes() and np.array_equal(known.truth, other.truth)
        assert known.photo.size == known.truth.shape[::-1] == (64, 64)
        assert 0.005 < known.truth.mean() < 0.8
    assert len({known.photo.tobytes() for known in photos}) == 3
    assert {known.photo.mode for known in photos} == {"RGBA" if ground == "transparent" else "RGB"}


def test_offline_segmenters_do_what_they_are_for() -> None:
    found = {(cut.segmenter, cut.ground): cut for cut in measure_segmenters(count=4, size=128)}
    assert set(found) == {(name, ground) for name in OFFLINE for ground in GROUNDS}
    for name in ("auto", "alpha"):
        assert found[name, "transparent"].iou.mean == 1.0
    assert found["alpha", "white"].found == 0 and found["alpha", "white"].iou.mean == 0.0
    assert found["auto", "white"].iou == found["grabcut", "white"].iou
    for ground in ("white", "plain colour", "textured scene"):
        cut = found["grabcut", ground]
        assert cut.iou.mean > 0.7 > found["none", ground].iou.mean, cut
        assert cut.iou.low <= cut.iou.mean <= cut.iou.high
    assert found["none", "white"].found == 4


def test_the_command_needs_no_torch() -> None:
    done = dreamcache(
        "bench", "segment", "--images", "2", "--size", "64", "--segmenters", "alpha,none", "--json"
    )
    assert done.returncode == 0, done.stderr
    cuts = json.loads(done.stdout)
    assert [(cut["segmenter"], cut["photos"]) for cut in cuts] == [("alpha", 2)] * 5 + [("none", 2)] * 5
    assert set(cuts[0]["iou"]) == {"mean", "low", "high", "n"}
    code = "import sys, dreamcache.evaluation.segmentation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_segmenter_is_named() -> None:
    done = dreamcache("bench", "segment", "--segmenters", "grabcat")
    assert done.returncode == 2
    assert "did you mean 'grabcut'" in error_of(done)
