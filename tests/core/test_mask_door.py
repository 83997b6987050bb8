"""The door for masks: each input of the corpus marks the box that it means, or is refused."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.images import decode_mask
from dreamcache.storage.photos import read_photo
from tests.corpus.kind import USED, Kind, case_id, cases
from tests.corpus.masks import SIZE, TRUTH
from tests.corpus.measure import SECONDS
from tests.corpus.pictures import photo, saved

LIMITS = ImageLimits()
TOLERANCE = 40
"""Pixels along the box's outline, which JPEG blurs."""


@pytest.mark.parametrize(("kind", "name"), cases("mask"), ids=case_id)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_each_mask_has_its_outcome(kind: Kind, name: str, tmp_path: Path) -> None:
    location = str(kind.inputs[name](tmp_path))
    uri = location if location.startswith("/") else f"{tmp_path}/{location}"
    began, code, message = time.monotonic(), USED, ""
    try:
        mask = decode_mask(read_photo(uri, "mask", LIMITS), where="mask", limits=LIMITS, size=SIZE)
        wrong = (np.asarray(mask) >= 128) != TRUTH
        assert wrong.sum() <= (TOLERANCE if name == "jpeg" else 0)
    except DreamCacheError as error:
        code, message = error.code, str(error)
    assert code == kind.code, message
    assert time.monotonic() - began < SECONDS
    assert "\n" not in message


def test_shades_stay_as_they_are() -> None:
    shades = photo(*SIZE, mode="L")
    mask = decode_mask(saved(shades, "PNG"), where="mask", limits=LIMITS, size=SIZE)
    assert np.array_equal(np.asarray(mask), np.asarray(shades))


def test_a_mask_of_one_value_is_the_whole_photo() -> None:
    for value in (1, 100, 255):
        mask = decode_mask(saved(Image.new("L", SIZE, value), "PNG"), where="m", limits=LIMITS, size=SIZE)
        assert mask.getextrema() == (255, 255)


def test_a_trimap_keeps_its_subject() -> None:
    values = np.zeros(SIZE[::-1], np.uint8)
    values[5:40, 5:60] = 128
    values[10:30, 12:50] = 255
    mask = decode_mask(saved(Image.fromarray(values), "PNG"), where="m", limits=LIMITS, size=SIZE)
    assert np.array_equal(np.asarray(mask), values)
