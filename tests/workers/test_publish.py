"""The publisher on a local folder: what is recorded of each row, and of objects that are there already."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dreamcache.core.records import Blocked, Done, Failed, Quality
from dreamcache.storage.image_store import ImageStore, encode_image, read_metadata, stored_pixel_sha256
from dreamcache.storage.ledger import Ledger
from tests.end_to_end.photos import write_photos
from tests.storage.test_hostile_images import BOMB
from tests.workers.small_job import SmallJob, small_job
from workers.publish import publish
from workers.tables import GENERATED, NO_PIXELS

GREY = np.full((8, 16, 3), 90, np.uint8)


@pytest.fixture
def job(tmp_path: Path, tiny_model: dict[str, str]) -> SmallJob:
    return small_job(tmp_path, tiny_model, write_photos(tmp_path, 3))


def rows_of(job: SmallJob, *changes: dict[str, Any]) -> pa.Table:
    """Rows with grey pixels, changed row by row."""
    pixels = {"rgb": GREY.tobytes(), "height": 8, "width": 16, "seconds": 0.5, "device": "cpu"}
    planned = job.rows.to_pylist()
    rows = [{**row, **NO_PIXELS, **pixels, **change} for row, change in zip(planned, changes, strict=False)]
    return pa.Table.from_pylist(rows, schema=GENERATED)


def records(job: SmallJob) -> dict[str, Any]:
    return dict(Ledger(job.spec.output).outcomes())


def test_each_row_ends_in_one_record(job: SmallJob) -> None:
    score = {"tries": 3, "seed": 5, "image_score": 0.4, "text_score": None}
    failed = {"rgb": None, "code": "encode_error", "message": "why", "attempts": 1}
    blocked = {"rgb": None, "code": "quality", "message": "below", "blocked": True, "quality": score}
    rows = rows_of(job, {}, failed, blocked)
    statuses = publish(rows, job.context)
    items = rows["item_id"].to_pylist()
    assert statuses["item_id"].to_pylist() == items
    assert statuses["status"].to_pylist() == ["done", "failed", "blocked"]
    assert statuses["code"].to_pylist() == [None, "encode_error", "quality"]
    done, failure, withheld = (records(job)[item] for item in items)
    assert isinstance(done, Done) and isinstance(failure, Failed) and isinstance(withheld, Blocked)
    data = Path(job.spec.output, done.key).read_bytes()
    assert (np.asarray(Image.open(Path(job.spec.output, done.key))) == GREY).all()
    assert (done.num_bytes, done.width, done.height, done.attempts) == (len(data), 16, 8, 1)
    assert done.pixel_sha256 == stored_pixel_sha256(data)
    assert (failure.message, failure.attempts) == ("why", 2)
    assert withheld.quality == Quality(**score)
    assert len(list(Path(job.spec.output, "images").rglob("*.png"))) == 1


def test_the_file_names_the_seed_of_the_try_that_it_shows(job: SmallJob) -> None:
    rows = rows_of(job, {"quality": {"tries": 2, "seed": 77, "image_score": 0.9, "text_score": None}})
    publish(rows, job.context)
    data = Path(
        job.spec.output, ImageStore(job.spec.output, job.spec.images).key_of(rows["item_id"][0].as_py())
    )
    assert read_metadata(data.read_bytes())["seed"] == "77"


def test_a_record_describes_the_object_that_an_earlier_attempt_committed(job: SmallJob) -> None:
    """The earlier pixels stay, and the record must not describe ours."""
    rows = rows_of(job, {})
    item, images = rows["item_id"][0].as_py(), ImageStore(job.spec.output, job.spec.images)
    earlier = encode_image(np.full((4, 4, 3), 7, np.uint8), job.spec.images, {"by": "an earlier attempt"})
    assert images.commit(item, earlier)
    publish(rows, job.context)
    record = records(job)[item]
    assert Path(job.spec.output, record.key).read_bytes() == earlier
    assert (record.num_bytes, record.pixel_sha256) == (len(earlier), stored_pixel_sha256(earlier))
    assert record.pixel_sha256 != stored_pixel_sha256(encode_image(GREY, job.spec.images, {}))


@pytest.mark.parametrize("content", [b"of somebody else", BOMB], ids=["text", "bomb"])
def test_an_object_that_is_no_image_fails_its_item_alone(job: SmallJob, content: bytes) -> None:
    rows = rows_of(job, {}, {})
    bad, good = rows["item_id"].to_pylist()
    path = Path(job.spec.output, ImageStore(job.spec.output, job.spec.images).key_of(bad))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    publish(rows, job.context)
    assert records(job)[bad].code == "publish_error" and "must be deleted" in records(job)[bad].message
    assert records(job)[good].status == "done" and path.read_bytes() == content


def test_publishing_again_changes_nothing(job: SmallJob) -> None:
    rows = rows_of(job, {}, {}, {})
    publish(rows, job.context)

    def hashes() -> dict[str, str]:
        files = Path(job.spec.output, "images").rglob("*.png")
        return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    before = hashes(), records(job)
    publish(rows, job.context)
    assert (hashes(), records(job)) == before
