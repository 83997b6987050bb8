"""Files that anyone put in the place of a stored image: each costs itself, whatever Pillow raises on it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config import ImageFormat
from dreamcache.core.errors import ImageError
from dreamcache.provenance.ledger_index import _stored
from dreamcache.storage import image_store
from dreamcache.storage.image_store import (
    ASCII,
    EXIF_IFD,
    USER_COMMENT,
    ImageStore,
    decode_image,
    encode_image,
    read_metadata,
    read_xmp,
)
from jobs.channels.marks import marks_of


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *more: bytes, pixels: bytes = b"\0") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = header + b"".join(more) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg(comment: object) -> bytes:
    exif, out = Image.Exif(), io.BytesIO()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    Image.new("RGB", (64, 64)).save(out, "JPEG", exif=exif.tobytes())
    return out.getvalue()


BOMB = png(60_000, 60_000)
BRACKETS = png(8, 8, chunk(b"tEXt", b"dreamcache\0" + b"[" * 200_000), pixels=(b"\0" + b"\x07" * 24) * 8)
NUMBER = jpeg(7)


@pytest.mark.parametrize(
    "data", [BRACKETS, NUMBER, jpeg(ASCII + b"[" * 50_000)], ids=["png", "number", "brackets in a jpeg"]
)
def test_metadata_that_are_none_are_passed_over(data: bytes) -> None:
    marks = marks_of(data, "png" if data.startswith(b"\x89PNG") else "jpg")
    assert read_metadata(data) == {} == marks.metadata
    assert read_xmp(data) is None and decode_image(data).shape[2] == 3


@pytest.mark.parametrize("read", [decode_image, read_xmp, read_metadata, lambda data: marks_of(data, "png")])
def test_a_header_of_too_many_pixels_is_refused(
    read: Callable[[bytes], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="at most 100,000,000 pixels") as caught:
        read(BOMB)
    assert caught.value.code == "too_large"
    monkeypatch.setattr(image_store, "MOST_PIXELS", 63)
    with pytest.raises(ImageError, match="at most 63 pixels, has 8x8") as caught:
        read(BRACKETS)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("error", [RuntimeError("why"), AttributeError("why"), KeyError("why"), EOFError()])
def test_whatever_a_decoder_raises_is_an_image_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise error

    data = encode_image(np.zeros((8, 8, 3), np.uint8), ImageFormat(), {})
    monkeypatch.setattr(Image.Image, "convert", load)
    with pytest.raises(ImageError, match="must decode as PNG, JPEG, WEBP, got"):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "is_read"),
    [(BOMB, False), (BRACKETS, True), (NUMBER, True)],
    ids=["bomb", "brackets", "number"],
)
def test_a_ledger_passes_over_what_cannot_be_read(tmp_path: Path, data: bytes, is_read: bool) -> None:
    images, item = ImageStore(str(tmp_path), ImageFormat()), "ab" * 32
    images.commit(item, data)
    assert (_stored(str(tmp_path), item, images.key_of(item)) is not None) is is_read
