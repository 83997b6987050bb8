"""From the bytes of a photo to its pixels: sizes first, metadata aside, then Pillow.

Knows limits and the order of checks; what a format hides from its reader is in `strip`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.images.exif import orientation, turned
from dreamcache.core.images.formats import (
    ALLOWED_FORMATS,
    IMAGES_NOT_ALLOWED,
    pillow_name,
    readable_formats,
    sniff,
)
from dreamcache.core.images.pixels import to_rgb
from dreamcache.core.images.refusal import by, guard, one_line, refuse, refuse_broken
from dreamcache.core.images.strip import strip
from dreamcache.core.images.stripped import Stripped

LEAST_ALPHA = 8
"""Of 255: a photo whose every pixel is more transparent than that shows nothing."""
Run = Callable[[int, Callable[[], Image.Image]], Image.Image]
LeastScale = Callable[[tuple[int, int]], float]
"""least_scale(width and height of an upright JPEG): the least share of that size that is enough, at most 1"""
_LYING = (5, 6, 7, 8)
"""EXIF's orientations whose width is the upright photo's height."""
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A photo whose header is read and whose size is allowed; no pixel is decoded yet. data: the whole file."""

    image: Image.Image
    stripped: Stripped
    kind: str
    data: bytes
    where: str
    num_pixels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A decoded first frame, turned upright, in whatever mode the file has. kind: its format."""

    image: Image.Image
    profile: object
    kind: str


def decode_image(
    data: bytes, *, where: str, limits: ImageLimits, least_scale: LeastScale | None = None
) -> Image.Image:
    """The photo as an upright 8-bit RGB picture, or RGBA if any pixel is not opaque.

    Handled, not refused: EXIF orientation, CMYK, 16- and 32-bit grey (scaled to 8 bit), 1-bit, palettes with
    or without transparency, grey with alpha, animations and multi-page files (first frame), embedded colour
    profiles (converted to sRGB; a broken profile is ignored), side chunks that are damaged or of any size.
    least_scale: a JPEG is decoded at a half, a quarter or an eighth of its size where that is enough.

    `where` names the photo in messages: "catalog.csv row 17: image 'img/17.png'". Sizes are checked in the
    header. Raises ImageError with code empty_file, too_large, too_small, too_complex, not_an_image,
    unsupported_format, truncated_image, damaged_image or transparent_image.
    """
    opened = open_photo(data, where, limits)
    if least_scale is not None and opened.kind == "jpeg":
        _reduce(opened, least_scale)
    loaded = finish(opened, limits)
    picture = guard(lambda: to_rgb(loaded.image, loaded.profile), data, where)
    if picture.mode == "RGBA":
        _, most = picture.getchannel("A").getextrema()
        if isinstance(most, (int, float)) and most < LEAST_ALPHA:
            rule = f"a photo must show something, got one whose every pixel is transparent (alpha at most {most:g})"
            refuse(where, rule, "export it without transparency, or use another photo", "transparent_image")
    return picture


def decode_small(
    data: bytes, *, where: str, limits: ImageLimits, side: int, run: Run = lambda pixels, step: step()
) -> Image.Image:
    """The photo as `decode_image` gives it, scaled down to at most `side` x `side` pixels.

    JPEGs are scaled while they are decoded. run(pixels, step): calls step(), which decodes so many pixels, where and
    when there is room for them. Raises ImageError as `decode_image` does, but for photos that show nothing.
    """
    opened = open_photo(data, where, limits)
    if opened.kind == "jpeg":
        opened.image.draft(None, (2 * side, 2 * side))

    def step() -> Image.Image:
        loaded = finish(opened, limits)
        picture = guard(lambda: to_rgb(loaded.image, loaded.profile), data, where)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return picture

    # A progressive file is held whole, as coefficients, however small its picture becomes.
    pixels = opened.num_pixels
    if "progressive" not in opened.image.info:
        pixels = opened.image.width * opened.image.height
    return run(pixels, step)


def load(data: bytes, where: str, limits: ImageLimits) -> Loaded:
    """The decoded first frame. Raises ImageError as `decode_image` does."""
    return finish(open_photo(data, where, limits), limits)


def open_photo(data: bytes, where: str, limits: ImageLimits) -> Opened:
    """The header, checked. Raises ImageError."""
    if not data:
        refuse(where, "an image file cannot be empty, got 0 bytes", "upload it again", "empty_file")
    if len(data) > limits.max_bytes:
        rule = f"a file may have at most {limits.max_bytes:,} bytes, got {len(data):,}"
        refuse(where, rule, "compress it, or raise max_bytes", "too_large")
    kind = sniff(data)
    if kind not in readable_formats():
        code = "unsupported_format" if kind in IMAGES_NOT_ALLOWED else "not_an_image"
        rule = f"not an allowed format ({', '.join(ALLOWED_FORMATS)}), got {kind}"
        how = "install the extra 'heif' (pillow-heif), or export" if kind == "heic" else "export"
        refuse(where, rule, f"{how} it as PNG or JPEG", code)
    stripped = guard(lambda: strip(data, kind), data, where)
    image = _open(stripped, kind, data, where, limits)
    _check_most(image, where, limits)
    if min(image.size) < limits.min_side:
        rule = f"each side must have at least {limits.min_side} pixels, got {by(image.size)}"
        refuse(where, rule, "use a larger photo", "too_small")
    pixels = image.width * image.height
    return Opened(image=image, stripped=stripped, kind=kind, data=data, where=where, num_pixels=pixels)


def finish(opened: Opened, limits: ImageLimits) -> Loaded:
    """Decodes the first frame. Raises ImageError."""
    image, stripped, data, where = opened.image, opened.stripped, opened.data, opened.where
    guard(image.load, data, where)
    _check_most(image, where, limits)  # a frame may be larger than its file's header states
    turn = _turn(opened)
    profile = stripped.profile if stripped.profile is not None else image.info.get("icc_profile")
    return Loaded(image=guard(lambda: turned(image, turn), data, where), profile=profile, kind=opened.kind)


def _turn(opened: Opened) -> int:
    """EXIF's number of how the photo lies."""
    turn = opened.stripped.orientation
    return (
        turn if turn is not None else orientation(opened.image.info.get("exif"), opened.image.info.get("xmp"))
    )


def _reduce(opened: Opened, least_scale: LeastScale) -> None:
    """Sets a JPEG's reader to the least of its sizes that is enough."""
    width, height = opened.image.size
    share = least_scale((height, width) if _turn(opened) in _LYING else (width, height))
    opened.image.draft(None, (math.ceil(width * share), math.ceil(height * share)))


def _open(stripped: Stripped, kind: str, data: bytes, where: str, limits: ImageLimits) -> Image.Image:
    """Reads the header only. Pillow's own limit, about 179 million pixels, holds beside `max_pixels`."""
    try:
        return Image.open(io.BytesIO(stripped.data), formats=(pillow_name(kind),))
    except _BOMB as error:
        rule = f"at most {limits.max_pixels:,} pixels are allowed, got more ({one_line(str(error))})"
        refuse(where, rule, "scale it down", "too_large")
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise nearly anything on hostile headers.
        refuse_broken(data, where, error)


def _check_most(image: Image.Image, where: str, limits: ImageLimits) -> None:
    if image.width * image.height > limits.max_pixels:
        rule = f"at most {limits.max_pixels:,} pixels are allowed, got {by(image.size)}"
        refuse(where, rule, "scale it down, or raise max_pixels", "too_large")
