"""Thumbnails of reference photos: any kind of image, and None for what is none."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from jobs.gallery import make_thumbnail


def photo(mode: str = "RGB", size: tuple[int, int] = (600, 300), kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_thumbnail_of_any_mode(mode: str) -> None:
    made = make_thumbnail(photo(mode))
    assert made is not None
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 128))


def test_thumbnail_is_upright_and_on_white() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = make_thumbnail(photo("CMYK", (900, 300), "JPEG", exif=exif), side=90)
    assert made is not None
    with Image.open(io.BytesIO(made)) as image:
        assert image.size == (30, 90)
    clear = make_thumbnail(photo("RGBA"))
    assert clear is not None
    with Image.open(io.BytesIO(clear)) as image:
        assert image.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_thumbnail_keeps_16_bit_grey_levels() -> None:
    out = io.BytesIO()
    Image.new("I;16", (64, 64), 0x8000).save(out, "PNG")
    made = make_thumbnail(out.getvalue())
    assert made is not None
    with Image.open(io.BytesIO(made)) as image:
        assert abs(image.convert("L").getpixel((5, 5)) - 128) < 4  # type: ignore[operator]


@pytest.mark.parametrize(
    "data",
    [b"", b"not an image", photo()[:60], photo("RGB", (512, 512), "JPEG")[:400], photo("1", (9000, 9000))],
)
def test_unreadable_or_huge_photo_is_none(data: bytes) -> None:
    assert make_thumbnail(data) is None
