"""The publisher: the record describes the stored object, counts this attempt, and says how the item ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dreamcache.core.config import ImageFormat
from dreamcache.core.config.provenance import ProvenanceSettings
from dreamcache.core.records import Blocked, Done, Failed, Quality
from dreamcache.provenance.hashes import as_text, hashes_of
from dreamcache.provenance.marker import Marker
from dreamcache.storage.image_store import ImageStore, encode_image, pixel_sha256, read_metadata
from workers.publish import commit
from workers.tables import GENERATED, NO_PIXELS

ITEM = "ab" * 32
MADE_BY = {"base": "tiny@1"}
MARKER = Marker(ProvenanceSettings(prompt=True), "autumn")


def row_of(rgb: np.ndarray[Any, np.dtype[np.uint8]] | None = None, **values: Any) -> dict[str, Any]:
    """A row as a generator hands it over."""
    row: dict[str, Any] = {name: "" for name in GENERATED.names}
    row |= {
        "item_id": ITEM,
        "mask": None,
        "sample": 0,
        "seed": 5,
        "attempts": 0,
        "code": None,
        "message": None,
    }
    row |= NO_PIXELS
    if rgb is not None:
        row |= {"rgb": rgb.tobytes(), "height": rgb.shape[0], "width": rgb.shape[1], "seconds": 2.5}
    [row] = pa.Table.from_pylist([row | values], schema=GENERATED).to_pylist()
    return row


def pixels(value: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((4, 6, 3), value, np.uint8)


def test_the_image_is_committed_and_described(tmp_path: Path) -> None:
    images = ImageStore(str(tmp_path), ImageFormat())
    row = row_of(
        pixels(9), attempts=2, device="cpu", subject_id="mug", prompt="on sand", segment_note="nothing_found"
    )
    [outcome] = commit([row], images, MADE_BY, MARKER)
    data = images.read(images.key_of(ITEM))
    assert outcome == Done(
        item_id=ITEM,
        key=f"images/ab/{ITEM}.png",
        width=6,
        height=4,
        num_bytes=len(data),
        pixel_sha256=pixel_sha256(pixels(9)),
        attempts=3,
        seconds=2.5,
        device="cpu",
        segment_note="nothing_found",
        marks="xmp",
        perceptual_hash=as_text(hashes_of(pixels(9))),
    )
    named = {"item_id": ITEM, "subject_id": "mug", "prompt": "on sand", "seed": "5"}
    assert read_metadata(data) == {**named, **MADE_BY}


def test_of_two_images_of_one_item_the_record_describes_the_stored_one(tmp_path: Path) -> None:
    """An attempt on another device committed other pixels and died before its record."""
    images = ImageStore(str(tmp_path), ImageFormat())
    first = encode_image(pixels(1), images.image_format, {"of": "an attempt that died, with a longer text"})
    assert images.commit(ITEM, first)
    [outcome] = commit([row_of(pixels(200))], images, MADE_BY, MARKER)
    assert isinstance(outcome, Done)
    assert images.read(outcome.key) == first
    assert (outcome.num_bytes, outcome.pixel_sha256) == (len(first), pixel_sha256(pixels(1)))


def test_an_object_that_is_no_image_fails_the_item_alone(tmp_path: Path) -> None:
    images = ImageStore(str(tmp_path), ImageFormat())
    images.commit(ITEM, b"not an image")
    other = "cd" * 32
    failed, done = commit([row_of(pixels(1)), row_of(pixels(1), item_id=other)], images, MADE_BY, MARKER)
    assert isinstance(failed, Failed) and isinstance(done, Done)
    assert (failed.code, failed.attempts, done.item_id) == ("publish_error", 1, other)
    assert f"images/ab/{ITEM}.png" in failed.message and "must be deleted before a retry" in failed.message


def test_behind_a_gate_the_image_names_the_seed_of_its_try(tmp_path: Path) -> None:
    images = ImageStore(str(tmp_path), ImageFormat())
    quality = {"tries": 3, "seed": 77, "image_score": 0.5, "text_score": None}
    [outcome] = commit([row_of(pixels(1), quality=quality)], images, MADE_BY, MARKER)
    assert isinstance(outcome, Done)
    assert outcome.quality == Quality(tries=3, seed=77, image_score=0.5)
    assert read_metadata(images.read(outcome.key))["seed"] == "77"


def test_rows_without_an_image_count_their_attempt_and_keep_their_reason(tmp_path: Path) -> None:
    images = ImageStore(str(tmp_path), ImageFormat())
    quality = {"tries": 2, "seed": 7, "image_score": 0.1, "text_score": None}
    why = {"code": "low_quality", "message": "below 0.5"}
    rows = [row_of(**why, attempts=1, blocked=True, quality=quality), row_of(**why, attempts=4)]
    assert commit(rows, images, MADE_BY, MARKER) == [
        Blocked(item_id=ITEM, **why, attempts=2, quality=Quality(**quality)),
        Failed(item_id=ITEM, **why, attempts=5),
    ]
    assert not list(tmp_path.iterdir())
