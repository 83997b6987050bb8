"""The door for photos: each input of the corpus ends with its code, in time; see `tests/corpus/photos.py`."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.images import decode_image
from dreamcache.storage.photos import read_photo
from tests.corpus.kind import USED, Kind, case_id, cases
from tests.corpus.measure import SECONDS

LIMITS = ImageLimits()


def outcome(folder: Path, location: str) -> tuple[str, str]:
    """(code, message) of reading and decoding a photo, as planner and encoder do."""
    uri = location if "://" in location or location.startswith("/") else f"{folder}/{location}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = decode_image(read_photo(uri, "row 1", LIMITS), where="row 1", limits=LIMITS)
    except DreamCacheError as error:
        return error.code, str(error)
    assert picture.mode in ("RGB", "RGBA")
    return USED, ""


@pytest.mark.parametrize(("kind", "name"), cases("photo"), ids=case_id)
def test_each_photo_has_its_outcome(kind: Kind, name: str, tmp_path: Path) -> None:
    location = str(kind.inputs[name](tmp_path))
    began = time.monotonic()
    code, message = outcome(tmp_path, location)
    assert code == kind.code, message
    assert time.monotonic() - began < SECONDS
    assert "\n" not in message
    assert len(message) < 1500
