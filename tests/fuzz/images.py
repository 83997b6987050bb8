"""Photos and masks: bytes as an upload may hold them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import decode_image, decode_mask
from jobs.gallery.thumbnail import make_thumbnail
from tests.fuzz.target import Read, Target, only_our_errors

SIZE = (32, 24)
SAVED: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("RGB", "PNG", {}),
    ("RGBA", "PNG", {"compress_level": 0}),
    ("P", "PNG", {"transparency": 0}),
    ("I;16", "PNG", {}),
    ("1", "PNG", {}),
    ("RGB", "JPEG", {}),
    ("RGB", "JPEG", {"progressive": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
    ("CMYK", "JPEG", {}),
    ("L", "JPEG", {"optimize": True}),
    ("RGB", "WEBP", {}),
    ("RGBA", "WEBP", {"lossless": True}),
    ("P", "GIF", {"save_all": True, "append_images": [Image.new("P", SIZE, 3)]}),
    ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("RGB", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("F", "TIFF", {}),
    ("L", "TIFF", {"compression": "packbits"}),
    ("RGB", "BMP", {}),
    ("RGB", "AVIF", {}),
)


def photos(folder: Path) -> list[bytes]:
    """One small picture in each mode and format."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8))
    return [_saved(noise, mode, kind, options) for mode, kind, options in SAVED]


def _saved(picture: Image.Image, mode: str, kind: str, options: dict[str, object]) -> bytes:
    via = picture.convert("L") if mode.startswith(("I", "F")) else picture
    out = io.BytesIO()
    via.convert(mode).save(out, kind, **options)
    return out.getvalue()


def _decode(folder: Path) -> Read:
    limits = ImageLimits()

    def read(data: bytes) -> None:
        with only_our_errors():
            decode_image(data, where="a photo", limits=limits)
        with only_our_errors():
            decode_mask(data, where="a mask", limits=limits, size=SIZE)

    return read


def _thumbnail(folder: Path) -> Read:
    return make_thumbnail


TARGETS = [
    Target(name="decode", seeds=photos, reader=_decode),
    Target(name="thumbnail", seeds=photos, reader=_thumbnail),
]
