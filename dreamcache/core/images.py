"""Catalog photos and masks: from bytes of unknown quality to upright 8-bit pictures, or to one clear error.

    bytes --sniff--> format --header--> size --decode--> pixels --upright, sRGB, 8 bit--> RGB | RGBA

Knows Pillow and numpy; must not know torch, catalogs, storage or segmenters. The file's name is never looked
at: the content decides the format. Every refusal is an ImageError, so that only its subject is lost.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NoReturn, TypeVar

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError

WHITE = (255, 255, 255)
ALLOWED_FORMATS = ("png", "jpeg", "webp", "gif", "tiff", "bmp")

PILLOW_FORMATS = tuple(name.upper() for name in ALLOWED_FORMATS)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DEEP_MODES = ("I", "F")
_SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("png", lambda head: head.startswith(b"\x89PNG")),
    ("jpeg", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("webp", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    ("gif", lambda head: head[:6] in (b"GIF87a", b"GIF89a")),
    ("tiff", lambda head: head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("heic or avif", lambda head: head[4:8] == b"ftyp"),
    ("jpeg 2000", lambda head: head[4:8] == b"jP  " or head.startswith(b"\xff\x4f\xff\x51")),
    ("photoshop", lambda head: head.startswith(b"8BPS")),
    ("pdf", lambda head: head.startswith(b"%PDF")),
    ("zip archive", lambda head: head.startswith(b"PK\x03\x04")),
    ("svg", lambda head: b"<svg" in head[:512].lower()),
    ("html", lambda head: b"<html" in head[:512].lower() or b"<!doctype html" in head[:512].lower()),
)
_IMAGES_NOT_ALLOWED = ("heic or avif", "jpeg 2000", "photoshop", "svg")

T = TypeVar("T")


def decode_image(data: bytes, *, where: str, limits: ImageLimits) -> Image.Image:
    """The photo as an upright 8-bit RGB picture, or RGBA if any pixel is not opaque.

    Handled, not refused: EXIF orientation, CMYK, 16- and 32-bit grey (scaled to 8 bit), 1-bit, palettes with
    or without transparency, grey with alpha, animations and multi-page files (first frame), embedded colour
    profiles (converted to sRGB; a broken profile is ignored).

    `where` names the photo in messages: "catalog.csv row 17: image 'img/17.png'". Sizes are checked in the
    header. Raises ImageError with code empty_file, too_large, too_small, not_an_image,
    unsupported_format, truncated_image or damaged_image.
    """
    image = _load(data, where, limits)
    return _guard(lambda: normalize(image), data, where)


def normalize(image: Image.Image) -> Image.Image:
    """A decoded picture of any mode as an upright 8-bit RGB picture, or RGBA if any pixel is not opaque."""
    return _to_rgb(_upright(image))


def on_white(image: Image.Image) -> Image.Image:
    """An RGB or RGBA picture as RGB, its transparent parts white."""
    if "A" not in image.getbands():
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, WHITE)
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


def decode_mask(data: bytes, *, where: str, limits: ImageLimits, size: tuple[int, int]) -> Image.Image:
    """The subject's mask as mode "L", 255 on the subject; `size` is (width, height) of the upright photo.

    White (or opaque, if the file has an alpha channel and only one colour) is the subject. A mask of two values
    counts as black and white whatever the two are, so 0/1 masks and coloured palettes work.

    Raises ImageError as `decode_image` does, and with code mask_size_mismatch.
    """
    image = _load(data, where, limits)
    mask = _guard(lambda: _to_mask(_upright(image)), data, where)
    if mask.size != size:
        _refuse(
            where,
            f"the mask must have the size of the upright photo, {_by(size)} pixels, got {_by(mask.size)}",
            "export the mask at the photo's size",
            "mask_size_mismatch",
        )
    return mask


def _load(data: bytes, where: str, limits: ImageLimits) -> Image.Image:
    """The decoded first frame, in whatever mode the file has."""
    if not data:
        _refuse(where, "an image file cannot be empty, got 0 bytes", "upload it again", "empty_file")
    if len(data) > limits.max_bytes:
        rule = f"a file may have at most {limits.max_bytes:,} bytes, got {len(data):,}"
        _refuse(where, rule, "compress it, or raise max_bytes", "too_large")
    image = _open(data, where, limits)
    if image.width * image.height > limits.max_pixels:
        rule = f"at most {limits.max_pixels:,} pixels are allowed, got {_by(image.size)}"
        _refuse(where, rule, "scale it down, or raise max_pixels", "too_large")
    if min(image.size) < limits.min_side:
        rule = f"each side must have at least {limits.min_side} pixels, got {_by(image.size)}"
        _refuse(where, rule, "use a larger photo", "too_small")
    _guard(image.load, data, where)
    return image


def _open(data: bytes, where: str, limits: ImageLimits) -> Image.Image:
    """Reads the header only. Pillow's own limit, about 179 million pixels, holds beside `max_pixels`."""
    kind = _sniff(data)
    try:
        return Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
    except _BOMB as error:
        rule = f"at most {limits.max_pixels:,} pixels are allowed, got more ({_one_line(str(error))})"
        _refuse(where, rule, "scale it down", "too_large")
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise nearly anything on hostile headers.
        if kind in ALLOWED_FORMATS:
            _refuse_broken(data, where, error)
    code = "unsupported_format" if kind in _IMAGES_NOT_ALLOWED else "not_an_image"
    rule = f"not an allowed format ({', '.join(ALLOWED_FORMATS)}), got {kind}"
    _refuse(where, rule, "export it as PNG or JPEG", code)


def _sniff(data: bytes) -> str:
    """What the first bytes say the file is."""
    for name, matches in _SIGNATURES:
        if matches(data):
            return name
    try:
        # A multi-byte character may be cut at the end of the sample.
        sample = data[:2048].decode("utf-8", errors="strict" if len(data) <= 2048 else "ignore")
    except UnicodeDecodeError:
        return "unknown data"
    printable = sum(char.isprintable() or char.isspace() for char in sample)
    return "text" if printable >= 0.95 * max(len(sample), 1) else "unknown data"


def _guard(step: Callable[[], T], data: bytes, where: str) -> T:
    """Runs a decoding step; whatever it raises becomes the ImageError of this file."""
    try:
        return step()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - as in _open: OSError, SyntaxError, ValueError, zlib.error and more.
        _refuse_broken(data, where, error)


def _refuse_broken(data: bytes, where: str, error: Exception) -> NoReturn:
    # Pillow's text for an unreadable header holds a memory address, which would differ on every run.
    unreadable = isinstance(error, UnidentifiedImageError)
    text = "unreadable header" if unreadable else _one_line(str(error)) or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError) or _ends_early(data):
        rule, code = "the file must be complete, got one that ends early", "truncated_image"
    else:
        rule, code = "the file must decode, got damaged data", "damaged_image"
    _refuse(where, f"{rule} ({text})", "upload or export it again", code)


def _ends_early(data: bytes) -> bool:
    """Whether the end mark of the format is missing; Pillow's messages do not always show it."""
    kind = _sniff(data)
    if kind == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    marks = {"png": b"IEND", "jpeg": b"\xff\xd9", "gif": b"\0;"}
    return kind in marks and marks[kind] not in data


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - a broken EXIF block says nothing about the pixels, which decoded well.
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image.info.pop(
            "transparency", None
        )  # a transparent grey value; Pillow would clip deep greys to apply it
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if _has_transparency(image) else "RGB")
    image = _to_8_bit(image)
    if image.mode in ("LA", "La", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colour = _to_srgb(image.convert("RGB") if alpha else image, profile)
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _has_transparency(image: Image.Image) -> bool:
    # Pillow cannot apply a transparent grey value to deep images; no product photo needs it.
    return image.mode == "PA" or ("transparency" in image.info and not image.mode.startswith(_DEEP_MODES))


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Deep grey scaled to mode "L"; Pillow's own conversion would clip at 255."""
    if not image.mode.startswith(_DEEP_MODES):
        return image
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = _value_range(image.mode, values)
    scaled = (values - low) * (255.0 / (high - low))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _value_range(mode: str, values: np.ndarray) -> tuple[float, float]:
    """Black and white of a deep image: the type's range where the values fit one, else their own extremes."""
    low, high = float(values.min()), float(values.max())
    usual = 1.0 if mode == "F" else 65535.0
    if low >= 0.0 and high <= usual:
        return 0.0, usual
    return (low, high) if high > low else (low, low + 1.0)


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """RGB in sRGB. A profile that is broken, or for other channels, is ignored without a message: the
    picture is still usable, its colours are then read as sRGB, as most viewers would."""
    if isinstance(profile, bytes) and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # Converting sRGB to itself would only cost time and a rounding step.
            if "srgb" not in ImageCms.getProfileDescription(source).lower():
                converted = ImageCms.profileToProfile(
                    image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image.convert("RGB")


def _to_mask(image: Image.Image) -> Image.Image:
    if _has_transparency(image) or image.mode in ("LA", "La", "RGBA", "RGBa"):
        both = image.convert("RGBA")
        grey, alpha = both.convert("RGB").convert("L"), both.getchannel("A")
        if alpha.getextrema() != (255, 255):
            seen = np.asarray(grey)[np.asarray(alpha) > 0]
            # One colour on transparency: the alpha channel is the mask, whatever the colour.
            plain = seen.size == 0 or int(seen.max()) - int(seen.min()) <= 2
            values = np.asarray(alpha if plain else Image.composite(grey, Image.new("L", grey.size), alpha))
            return _black_and_white(values)
        return _black_and_white(np.asarray(grey))
    if image.mode.startswith("I"):
        labels = np.asarray(image)
        # Labels (0 and 1, say) in a deep file: scaling by 65535 would turn them into nothing.
        if 0 <= int(labels.min()) and int(labels.max()) <= 255:
            return _black_and_white(labels)
    return _black_and_white(np.asarray(_to_8_bit(image).convert("RGB").convert("L")))


def _black_and_white(values: np.ndarray) -> Image.Image:
    """Stretches a two-valued mask to 0 and 255; leaves soft masks as they are."""
    low, high = int(values.min()), int(values.max())
    if low < high and bool(np.isin(values, (low, high)).all()):
        values = np.where(values == high, 255, 0)
    return Image.fromarray(values.astype(np.uint8))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _refuse(where: str, rule: str, remedy: str, code: str) -> NoReturn:
    raise ImageError(_one_line(f"{where}: {rule}; {remedy}"), code=code)
