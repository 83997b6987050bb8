"""A reference photo and its mask in whatever form a caller has them, as the pictures that the encoder reads.

    path, s3:// URI, PIL image, array [H, W, 3], tensor [3, H, W]  ->  upright 8-bit RGB or RGBA

Knows forms of pictures; knows nothing of models. What is wrong with a file is an ImageError, as in a job.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import decode_image, decode_mask, normalize
from dreamcache.inference.rules import refuse
from dreamcache.storage.photos import read_photo

Picture = str | Path | Image.Image | NDArray[Any] | Tensor
"""A path or s3:// URI, a PIL image, an array [H, W, 3 or 4], or a tensor [3 or 4, H, W]; numbers are uint8, or
floats from 0 to 1. A mask has no channels: [H, W]."""

LIMITS = ImageLimits()
FORMS = "a path, an s3:// URI, a PIL image, an array [H, W, 3] or a tensor [3, H, W]"
MASK_FORMS = "a path, an s3:// URI, a PIL image, or an array or tensor [H, W]"


def as_picture(image: Picture, name: str = "image") -> Image.Image:
    """The photo, upright, RGB or RGBA. Raises InputError for a wrong form, ImageError for a file that is none."""
    if isinstance(image, Image.Image):
        return normalize(image)
    if isinstance(image, (str, Path)):
        where = f"{name} '{image}'"
        return decode_image(read_photo(str(image), where, LIMITS), where=where, limits=LIMITS)
    values = _array(image, name, FORMS)
    if isinstance(image, Tensor) and values.ndim == 3:
        values = values.transpose(1, 2, 0)
    if values.ndim != 3 or values.shape[2] not in (3, 4) or 0 in values.shape:
        got = f"{_kind(image)} of shape {tuple(image.shape)}"
        refuse(name, FORMS, got, "give one photo with its 3 (RGB) or 4 (RGBA) channels there")
    return normalize(Image.fromarray(_bytes(values, name)))


def as_mask(mask: Picture | None, size: tuple[int, int], name: str = "mask") -> Image.Image | None:
    """The mask of a photo of `size` (width, height), 255 on the subject. Raises as `as_picture` does."""
    if mask is None:
        return None
    if isinstance(mask, (str, Path)):
        where = f"{name} '{mask}'"
        return decode_mask(read_photo(str(mask), where, LIMITS), where=where, limits=LIMITS, size=size)
    if isinstance(mask, Image.Image):
        picture = mask
    else:
        values = _array(mask, name, MASK_FORMS)
        if values.ndim == 3 and isinstance(mask, Tensor) and len(values) == 1:
            values = values[0]
        if values.ndim != 2 or 0 in values.shape:
            got = f"{_kind(mask)} of shape {tuple(mask.shape)}"
            refuse(name, MASK_FORMS, got, "give one number a pixel")
        # A mask of zeros and ones in uint8 is as common as one of 0 and 255.
        is_flag = values.dtype == np.bool_ or (values.dtype == np.uint8 and values.max() <= 1)
        picture = Image.fromarray(_bytes(values.astype(np.float32) if is_flag else values, name))
    if picture.size != size:
        rule = f"of the photo's size, {size[0]} x {size[1]} pixels (width x height)"
        refuse(name, rule, f"{picture.width} x {picture.height}", "scale it to the photo")
    return picture


def _array(value: Any, name: str, forms: str) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        values: NDArray[Any] = (value.float() if value.is_floating_point() else value).numpy()
        return values
    if isinstance(value, np.ndarray):
        return value
    refuse(name, forms, f"a {type(value).__name__}", "convert it to one of these")


def _bytes(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """uint8 as it is; floats from 0 to 1 become bytes."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    rule = "uint8 from 0 to 255, or floats from 0 to 1"
    if not np.issubdtype(values.dtype, np.floating):
        refuse(name, rule, str(values.dtype), "convert it, e.g. with .astype('uint8')")
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 1:  # false for NaN as well
        refuse(name, rule, f"floats from {low:g} to {high:g}", "map them first, e.g. (x + 1) / 2 or x / 255")
    as_bytes: NDArray[np.uint8] = np.ascontiguousarray((values * 255).round().astype(np.uint8))
    return as_bytes


def _kind(value: Any) -> str:
    return "a tensor" if isinstance(value, Tensor) else "an array"
