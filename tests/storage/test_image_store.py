"""Images as files: pixels, parameters inside, hash and commit."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from dreamcache.core import ids
from dreamcache.core.config import ImageFormat
from dreamcache.core.errors import ImageError
from dreamcache.storage.image_store import (
    ImageStore,
    Pixels,
    decode_image,
    encode_image,
    image_key,
    pixel_sha256,
    read_metadata,
    stored_pixel_sha256,
)
from dreamcache.storage.open_store import join, store_for

FORMATS = [ImageFormat(format=name) for name in ("png", "jpeg", "webp")]
METADATA = {"prompt": 'a "ünïcode" 鞋 photo\n\0 of a shoe', "seed": "123", "item_id": "ab" * 32}
format_ = pytest.mark.parametrize("image_format", FORMATS, ids=lambda f: f.format)


def _rgb(height: int = 48, width: int = 64) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3 % 256, y * 5 % 256, (x + y) % 256], axis=-1).astype(np.uint8)


@format_
def test_round_trip_with_metadata(image_format: ImageFormat) -> None:
    data = encode_image(_rgb(), image_format, METADATA)
    assert encode_image(_rgb(), image_format, dict(reversed(METADATA.items()))) == data
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == image_format.format.upper()
        assert image.size == (64, 48)
    decoded = decode_image(data)
    limit = 0 if image_format.format == "png" else 40
    assert np.abs(decoded.astype(int) - _rgb()).max() <= limit
    assert read_metadata(data) == METADATA
    assert stored_pixel_sha256(data) == pixel_sha256(decoded)
    assert (pixel_sha256(_rgb()) == stored_pixel_sha256(data)) is (image_format.format == "png")


@format_
def test_no_metadata_and_foreign_files(image_format: ImageFormat) -> None:
    assert read_metadata(encode_image(_rgb(), image_format, {})) == {}
    plain = io.BytesIO()
    Image.fromarray(_rgb()).save(plain, image_format.format.upper())
    assert read_metadata(plain.getvalue()) == {}


def test_metadata_too_long_for_jpeg() -> None:
    long = {"prompt": "x" * 70_000}
    with pytest.raises(ImageError, match="use png"):
        encode_image(_rgb(), ImageFormat(format="jpeg"), long)
    assert read_metadata(encode_image(_rgb(), ImageFormat(format="png"), long)) == long


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_only_rgb_arrays_are_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=re.escape(str(list(shape)))):
        encode_image(np.zeros(shape, np.uint8), ImageFormat(), {})
    with pytest.raises(ImageError):
        decode_image(b"no image")


def test_pixel_hash_distinguishes_shapes() -> None:
    flat = np.zeros((4, 6, 3), np.uint8)
    assert pixel_sha256(flat) != pixel_sha256(flat.reshape(6, 4, 3))
    assert pixel_sha256(flat) == pixel_sha256(np.zeros((8, 6, 3), np.uint8)[::2])


@format_
def test_commit_is_once_and_read_gives_the_first(place: str, image_format: ImageFormat) -> None:
    store, item = ImageStore(place, image_format), ids.of_bytes(b"item")
    first = encode_image(_rgb(), image_format, METADATA)
    key = image_key(item, image_format)
    assert key == f"images/{item[:2]}/{item}.{image_format.extension}" == store.key_of(item)
    assert store.stat(key) is None
    assert store.commit(item, first)
    assert not store.commit(item, encode_image(_rgb(8, 8), image_format, {}))
    info = store.stat(key)
    assert store.read(key) == first == store_for(place).read(join(place, key))
    assert info is not None
    assert info.num_bytes == len(first)
