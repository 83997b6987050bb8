"""Small copies of reference photos for the gallery. Knows image bytes only; never raises for a bad photo."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import PILLOW_FORMATS


def make_thumbnail(data: bytes, side: int = 256) -> bytes | None:
    """WebP of at most `side` x `side` pixels, upright and on white; None if the photo cannot be read.

    JPEGs are scaled down while they are decoded, so a large photo costs little memory.
    """
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as photo:
            photo.draft(None, (2 * side, 2 * side))
            if photo.width * photo.height > ImageLimits().max_pixels:
                return None
            small = _rgba(photo)
            small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
            small.info = {}
            turned = _upright(small, photo)
        canvas = Image.new("RGB", turned.size, "white")
        canvas.paste(turned, mask=turned.getchannel("A"))
        out = io.BytesIO()
        canvas.save(out, "WEBP", quality=82, method=4)
        return out.getvalue()
    except Exception:  # noqa: BLE001 - decoders raise many kinds; a gallery without one photo is better than none
        return None


def _rgba(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling
        photo = photo.convert("I").point(lambda value: value / 256).convert("L")
    return photo.convert("RGBA")


def _upright(small: Image.Image, photo: Image.Image) -> Image.Image:
    small.getexif()[0x0112] = photo.getexif().get(0x0112, 1)
    return ImageOps.exif_transpose(small)
