"""What an image file is, as numbers and texts that rules judge. Knows files and pixels; knows no channel.

bytes, name -> Facts {measure: number | text | None}        None: it cannot be measured on this image
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError
from dreamcache.core.images import bounding_box, decode_image, on_white
from dreamcache.provenance import xmp
from jobs.channels.preset import Measure

Value = float | str | None
Facts = Mapping[Measure, Value]
Mask = NDArray[np.bool_]
Grey = NDArray[np.uint8]

NEAR_WHITE = 225
"""A channel's least value in a light plain background, of 255: soft shadows and off-white papers are above it."""
RING_WHITE = 245
"""As `NEAR_WHITE`, for the median of the ring of a picture whose subject may be looked for."""
SUBJECT_DIFFERENCE = 24
"""Of 255: what differs less from white than that is JPEG's noise around the subject, not the subject."""
OFF_WHITE = 250
"""Darker background pixels are visible on a white page; JPEG's noise beside the subject stays above it mostly."""
RING_SHARE = 0.02
EXTENSIONS = {
    "jpeg": ("jpg", "jpeg"),
    "png": ("png",),
    "webp": ("webp",),
    "gif": ("gif",),
    "tiff": ("tif", "tiff"),
    "bmp": ("bmp",),
}
READABLE = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
LIMITS = ImageLimits(min_side=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """Of the subject: left, top, right, bottom in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top


def measure(data: bytes, name: str) -> dict[Measure, Value]:
    """The facts of a file as it will be published under `name`. Raises ImageError for what is no image."""
    header = _header(data, name)
    facts: dict[Measure, Value] = {
        "num_bytes": float(len(data)),
        "name_length": float(len(name.rpartition("/")[2])),
        "name_characters": _characters(name),
        "extension": _extension(name, str(header["format"])),
        "ai_mark": _ai_mark(data),
        **header,
    }
    pixels = np.asarray(on_white(decode_image(data, where=name, limits=LIMITS)))
    return {**facts, **measure_pixels(pixels)}


def measure_pixels(pixels: NDArray[np.uint8]) -> dict[Measure, Value]:
    """Of uint8 [height, width, 3]."""
    height, width = pixels.shape[:2]
    darkest = darkest_of(pixels)
    facts: dict[Measure, Value] = {
        "longest_side": float(max(height, width)),
        "shortest_side": float(min(height, width)),
        "megapixels": height * width / 1e6,
        "aspect": width / height,
        "white_ring": float((ring(darkest) == 255).mean()),
    }
    background = background_of(darkest)
    box = subject_box(darkest)
    facts["off_white"] = None if background is None else _off_white(darkest, background)
    facts["fill"] = None if box is None else max(box.size[0] / width, box.size[1] / height)
    return facts


def darkest_of(pixels: NDArray[np.uint8]) -> Grey:
    """The least of the three channels: 255 for pure white alone."""
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    darkest: Grey = np.minimum(np.minimum(red, green), blue)
    return darkest


def ring(darkest: Grey) -> Grey:
    """The outermost pixels of all four sides, [count]."""
    deep = max(1, round(RING_SHARE * min(darkest.shape)))
    sides = (darkest[:deep], darkest[-deep:], darkest[:, :deep], darkest[:, -deep:])
    return np.concatenate([side.ravel() for side in sides])


def background_of(darkest: Grey) -> Mask | None:
    """The light plain background: near-white pixels that are connected to the border; None for a scene."""
    import cv2

    if np.median(ring(darkest)) < NEAR_WHITE:
        return None
    count, labels = cv2.connectedComponents((darkest >= NEAR_WHITE).astype(np.uint8), connectivity=4)
    at_border = np.zeros(count, np.bool_)
    at_border[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    at_border[0] = False  # what is not light
    background: Mask = at_border[labels]
    return background


def subject_box(darkest: Grey) -> Box | None:
    """Around all that is not white; None on a background that is not white, and where there is nothing."""
    if np.median(ring(darkest)) < RING_WHITE:
        return None
    subject = darkest < 255 - SUBJECT_DIFFERENCE
    if not subject.any():
        return None
    left, top, right, bottom = bounding_box(subject)
    return Box(left=left, top=top, right=right, bottom=bottom)


def _off_white(darkest: Grey, background: Mask) -> float:
    return float((darkest[background] < OFF_WHITE).mean()) if background.any() else 1.0


def _header(data: bytes, name: str) -> dict[Measure, Value]:
    try:
        with Image.open(io.BytesIO(data), formats=READABLE) as image:
            return {
                "format": (image.format or "").lower(),
                "frames": float(getattr(image, "n_frames", 1)),
                "colour_space": _colour_space(image),
            }
    except Exception as error:  # Pillow's readers raise nearly anything on hostile headers
        raise ImageError(
            f"{name}: must be an image file, got {type(error).__name__}", code="damaged_image"
        ) from error


def _colour_space(image: Image.Image) -> str:
    """`srgb` also without a profile: readers take RGB without one as sRGB."""
    if image.mode not in ("RGB", "RGBA", "P"):
        return image.mode.lower()
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes):
        return "srgb"
    try:
        description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "broken profile"
    return "srgb" if "srgb" in description.lower() else description[:60] or "unnamed profile"


def _extension(name: str, kind: str) -> str:
    ending = name.rpartition(".")[2].lower()
    return "fits" if ending in EXTENSIONS.get(kind, ()) else f".{ending[:20]} on {kind}"


def _characters(name: str) -> str:
    base = name.rpartition("/")[2]
    if set(base) <= PLAIN:
        return "plain"
    return "ascii" if base.isascii() else "other"


def _ai_mark(data: bytes) -> str:
    """The last part of the XMP's IPTC source type, e.g. trainedAlgorithmicMedia; `none` without one."""
    statement = xmp.find(data)
    return (statement.source_type or "").rstrip("/").rpartition("/")[2] or "none" if statement else "none"
