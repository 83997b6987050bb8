"""Pixels of any mode as an upright 8-bit RGB picture, or RGBA if any pixel is not opaque.

Knows Pillow's modes and colour profiles; knows nothing of files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

WHITE = (255, 255, 255)
DEEP_MODES = ("I", "F")
STRIP_PIXELS = 1 << 18


def normalize(image: Image.Image) -> Image.Image:
    """A decoded picture of any mode as an upright 8-bit RGB picture, or RGBA if any pixel is not opaque."""
    return to_rgb(upright(image), image.info.get("icc_profile"))


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its own EXIF states."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - a broken EXIF block says nothing about the pixels, which decoded well.
        return image


def blue_first(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [3, height, width] in -1..1 of uint8 [height, width, 3], in OpenCV's order: blue, green, red."""
    return np.ascontiguousarray((rgb[..., ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))


def on_white(image: Image.Image) -> Image.Image:
    """An RGB or RGBA picture as RGB, its transparent parts white."""
    if "A" not in image.getbands():
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, WHITE)
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


def to_rgb(image: Image.Image, profile: object) -> Image.Image:
    """RGB or RGBA in sRGB. profile: bytes of an ICC profile, anything else for none."""
    if image.mode.startswith(DEEP_MODES):
        # A transparent grey value; Pillow would clip deep greys to apply it.
        image.info.pop("transparency", None)
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if has_transparency(image) else "RGB")
    image = to_8_bit(image)
    if image.mode in ("LA", "La", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colour = _to_srgb(image.convert("RGB") if alpha else image, profile)
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def has_transparency(image: Image.Image) -> bool:
    """Whether pixels of this mode may be transparent."""
    # Pillow cannot apply a transparent grey value to deep images; no product photo needs it.
    return image.mode == "PA" or ("transparency" in image.info and not image.mode.startswith(DEEP_MODES))


def to_8_bit(image: Image.Image) -> Image.Image:
    """Deep grey scaled to mode "L", a strip at a time; Pillow's own conversion would clip at 255."""
    if not image.mode.startswith(DEEP_MODES):
        return image
    low, high = _value_range(image)
    # 16 bits have few values: each is scaled once, then looked up.
    table = _scaled(np.arange(65536), low, high) if image.mode.startswith("I;16") else None
    scaled = np.empty((image.height, image.width), dtype=np.uint8)
    for start, strip in strips(image):
        scaled[start : start + len(strip)] = _scaled(strip, low, high) if table is None else table[strip]
    return Image.fromarray(scaled)


def strips(image: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first row, values [rows, width]) over the picture, about STRIP_PIXELS at a time."""
    rows = max(1, STRIP_PIXELS // max(image.width, 1))
    for start in range(0, image.height, rows):
        end = min(start + rows, image.height)
        yield start, np.asarray(image.crop((0, start, image.width, end)))


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    numbers = _finite(values).astype(np.float64)
    numbers -= low
    numbers *= 255.0 / (high - low)
    np.clip(np.rint(numbers, out=numbers), 0, 255, out=numbers)
    return numbers.astype(np.uint8)


def _value_range(image: Image.Image) -> tuple[float, float]:
    """Black and white of a deep image: the type's range where the values fit one, else their own extremes."""
    usual = 1.0 if image.mode == "F" else 65535.0
    if image.mode.startswith("I;16"):
        return 0.0, usual
    ends = [(values.min(), values.max()) for values in (_finite(strip) for _, strip in strips(image))]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    if low >= 0.0 and high <= usual:
        return 0.0, usual
    return (low, high) if high > low else (low, low + 1.0)


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """NaN and infinities as 0."""
    if values.dtype.kind != "f" or bool(np.isfinite(values).all()):
        return values
    finite: NDArray[Any] = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    return finite


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
