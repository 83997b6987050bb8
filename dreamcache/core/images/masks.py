"""A catalog's masks as tools write them, as one kind: mode "L", 255 on the subject.

    two values, whatever they are      the lighter one is the subject
    one colour on transparency         what is opaque is the subject
    class indices (0, 1, 2, ...)       all but 0 are the subject; 255 is void, which annotation tools write at borders
    shades from black to white         as they are; half white or more is the subject

What is none of these, or marks nothing, is refused: it would be used as a mask of nothing in silence.
Knows pixels; knows nothing of photos.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.images.decode import load
from dreamcache.core.images.pixels import DEEP_MODES, has_transparency, strips, to_8_bit
from dreamcache.core.images.refusal import by, guard, refuse

HALF = 128
VOID = 255
HIGHEST_CLASS = 31
"""Of masks with void pixels; without them, any mask whose every value is below HALF holds classes."""
COLOURED = 32
MOST_COLOURS = 256
SHADED_FORMATS = ("jpeg", "webp", "avif")
"""Formats that change values a little, so no value in them is an index."""

Bytes = NDArray[np.uint8]


def decode_mask(data: bytes, *, where: str, limits: ImageLimits, size: tuple[int, int]) -> Image.Image:
    """The subject's mask as mode "L", 255 on the subject; `size` is (width, height) of the upright photo.

    Raises ImageError as `decode_image` does, and with code mask_size_mismatch, empty_mask, bad_mask.
    """
    loaded = load(data, where, limits)
    if loaded.image.size != size:
        refuse(
            where,
            f"the mask must have the size of the upright photo, {by(size)} pixels, got {by(loaded.image.size)}",
            "export the mask at the photo's size",
            "mask_size_mismatch",
        )
    values = guard(lambda: _values(loaded.image, loaded.kind, where), data, where)
    if not (values >= HALF).any():
        rule = (
            f"the mask must mark the subject, got one that marks nothing (highest value {int(values.max())})"
        )
        refuse(where, rule, "export the mask again, the subject white", "empty_mask")
    return Image.fromarray(values)


def _values(image: Image.Image, kind: str, where: str) -> Bytes:
    """[H, W], 255 on the subject."""
    if image.mode == "P" and not has_transparency(image) and kind not in SHADED_FORMATS:
        return _of_palette(image)
    if has_transparency(image) or image.mode in ("LA", "La", "RGBA", "RGBa"):
        return _of_transparent(image, kind, where)
    if image.mode.startswith("I"):
        labels = _small_numbers(image)
        if labels is not None:
            return _of_greys(labels, kind)
    if image.mode not in ("1", "L", "LA") and not image.mode.startswith(DEEP_MODES):
        return _of_colours(image.convert("RGB"), kind, where)
    return _of_greys(np.asarray(to_8_bit(image).convert("L")), kind)


def _of_greys(values: Bytes, kind: str) -> Bytes:
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    low, high = int(used[0]), int(used[-1])
    if low == high:
        return np.full_like(values, 255 if high > 0 else 0)
    if len(used) == 2:
        return np.where(values == high, np.uint8(255), np.uint8(0))
    highest = int(used[used != VOID][-1])
    has_void = high == VOID
    if low == 0 and kind not in SHADED_FORMATS and highest <= (HIGHEST_CLASS if has_void else HALF - 1):
        return np.where((values > 0) & (values != VOID), np.uint8(255), np.uint8(0))
    return values


def _of_palette(image: Image.Image) -> Bytes:
    """Two colours by their lightness, shades of grey as they are; more colours are names of classes."""
    indices = np.asarray(image)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette[:256]
    spread = table[used].max(axis=1).astype(int) - table[used].min(axis=1)
    if len(used) <= 2 or int(spread.max()) < COLOURED:
        lightness = np.asarray(Image.fromarray(table[None]).convert("L"))[0]
        return _of_greys(lightness[indices], "png")
    return np.where((indices > 0) & (indices != VOID), np.uint8(255), np.uint8(0))


def _of_colours(image: Image.Image, kind: str, where: str) -> Bytes:
    """Shades of grey, or two colours. More colours are a legend that nobody here knows."""
    found = image.getcolors(MOST_COLOURS) if kind not in SHADED_FORMATS else None
    colours = [colour for _, colour in found or [] if isinstance(colour, tuple)]
    if len(colours) > 2 and any(max(colour) - min(colour) >= COLOURED for colour in colours):
        rule = f"a mask must be black and white or hold class indices, got {len(colours)} colours"
        refuse(where, rule, "export the subject white on black", "bad_mask")
    return _of_greys(np.asarray(image.convert("L")), kind)


def _of_transparent(image: Image.Image, kind: str, where: str) -> Bytes:
    both = image.convert("RGBA")
    alpha = both.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return _of_colours(both.convert("RGB"), kind, where)
    grey = both.convert("RGB").convert("L")
    seen = np.asarray(grey)[np.asarray(alpha) > 0]
    # One colour on transparency: the alpha channel is the mask, whatever the colour.
    is_plain = seen.size == 0 or int(seen.max()) - int(seen.min()) <= 2
    if is_plain:
        return _of_alpha(np.asarray(alpha))
    return _of_greys(np.asarray(Image.composite(grey, Image.new("L", grey.size), alpha)), kind)


def _of_alpha(alpha: Bytes) -> Bytes:
    used = np.unique(alpha)
    if len(used) == 2:
        return np.where(alpha == used[1], np.uint8(255), np.uint8(0))
    return alpha


def _small_numbers(image: Image.Image) -> Bytes | None:
    """The values of a deep image where all of them fit into a byte; scaling would turn labels into nothing."""
    values = np.empty((image.height, image.width), dtype=np.uint8)
    for start, strip in strips(image):
        if int(strip.min()) < 0 or int(strip.max()) > 255:
            return None
        values[start : start + len(strip)] = strip
    return values


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels in a mask [height, width] that has some; right and bottom exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
