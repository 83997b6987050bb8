"""The pixels of an image in a channel's frame, and their file. Knows pixels and formats; judges nothing.

RGB -> background white -> subject centred, filling the frame -> scaled -> encoded, within the channel's bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageFormat
from dreamcache.core.images import bounding_box
from dreamcache.storage.image_store import encode_image
from jobs.channels.facts import Box, Mask, background_of, darkest_of, subject_box
from jobs.channels.preset import Frame

WHITE = (255, 255, 255)
LEAST_QUALITY = 60
QUALITY_STEP = 8


def in_frame(image: Image.Image, frame: Frame, *, upscale: bool, subject: Mask | None = None) -> Image.Image:
    """The RGB picture as the frame wants it.

    subject: which pixels are to stay on white, [height, width], all of them; None for what a light plain background
    leaves: light parts of the subject outside its dark ones are lost then.
    A scene on a frame with a white background, and without `subject`, is only scaled: the rules then refuse it.
    """
    if frame.background == "white":
        pixels = _on_white(np.asarray(image), subject)
        image = Image.fromarray(pixels)
        if (box := _box(pixels, subject)) is not None:
            return _centred(image.crop((box.left, box.top, box.right, box.bottom)), frame, upscale)
    longest = max(image.size)
    side = frame.side if upscale else min(frame.side, longest)
    return _scaled(image, side / longest)


def encoded(
    rgb: Image.Image,
    images: ImageFormat,
    metadata: Mapping[str, str],
    packet: bytes | None,
    max_bytes: int | None,
) -> bytes:
    """The file, of lower quality where it would be larger than max_bytes; the rules refuse what stays larger.

    Raises ImageError when metadata do not fit the format.
    """
    pixels = np.asarray(rgb)
    while True:
        data = encode_image(pixels, images, metadata, packet)
        lower = images.quality - QUALITY_STEP
        if max_bytes is None or len(data) <= max_bytes or images.format == "png" or lower < LEAST_QUALITY:
            return data
        images = replace(images, quality=lower)


def _box(pixels: NDArray[np.uint8], subject: Mask | None) -> Box | None:
    if subject is None:
        return subject_box(darkest_of(pixels))
    if not subject.any():
        return None
    left, top, right, bottom = bounding_box(subject)
    return Box(left=left, top=top, right=right, bottom=bottom)


def _on_white(pixels: NDArray[np.uint8], subject: Mask | None) -> NDArray[np.uint8]:
    background = ~subject if subject is not None else background_of(darkest_of(pixels))
    if background is None:
        return pixels
    whitened = pixels.copy()
    whitened[background] = 255
    return whitened


def _centred(subject: Image.Image, frame: Frame, upscale: bool) -> Image.Image:
    """On a white square whose side the subject's longest side fills by `frame.fill`."""
    longest = max(subject.size)
    side = frame.side if upscale else min(frame.side, max(1, int(longest / frame.fill)))
    scaled = _scaled(subject, frame.fill * side / longest)
    canvas = Image.new("RGB", (side, side), WHITE)
    canvas.paste(scaled, ((side - scaled.width) // 2, (side - scaled.height) // 2))
    return canvas


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
