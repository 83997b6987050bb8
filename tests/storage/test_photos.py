"""Photos of planned items: what is read must be what was planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError
from dreamcache.core.records import Reference, Request
from dreamcache.storage.photo_faults import STORAGE_WIDE
from dreamcache.storage.photos import read_reference
from dreamcache.storage.s3_errors import storage_error


def request_of(image: Path, mask: Path | None) -> Request:
    name = Reference.id_of(image.read_bytes(), mask.read_bytes() if mask else None)
    return Request(
        item_id="i", subject_id="s", class_name="mug", reference_id=name, cache_key="k", image=str(image),
        mask=str(mask) if mask else None, prompt="p", sample=0, seed=0,
    )  # fmt: skip


def test_another_photo_or_mask_than_planned_is_refused(tmp_path: Path) -> None:
    """Else its features would stand under the planned photo's name, also for other jobs with this cache."""
    image, mask = tmp_path / "a.png", tmp_path / "mask.png"
    image.write_bytes(b"photo")
    mask.write_bytes(b"mask")
    request, alone = request_of(image, mask), request_of(image, None)
    assert read_reference(request, ImageLimits()) == (b"photo", b"mask")
    assert read_reference(alone, ImageLimits()) == (b"photo", None)
    for path in (mask, image):
        path.write_bytes(b"another")
        with pytest.raises(ImageError, match="must be the photo planned") as caught:
            read_reference(request, ImageLimits())
        assert caught.value.code == "changed_photo"
    assert read_reference(replace(alone, reference_id=Reference.id_of(b"another", None)), ImageLimits())


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_expired_credentials_are_no_photos_fault(code: str) -> None:
    """They would meet every photo; a photo in a bucket of someone else is its own."""
    refusal = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "GetObject")
    assert storage_error("s3://b/a.png", "read", refusal).code in STORAGE_WIDE
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
    assert storage_error("s3://b/a.png", "read", denied).code not in STORAGE_WIDE
