"""From a photo and its mask to what the base model is shown: the subject alone, on white (docs/method.md section 1).

Knows Pillow and numpy, and torch only where a tensor is asked for; must not know segmenters or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dreamcache.core.errors import ImageError
from dreamcache.core.images import WHITE, bounding_box, on_white

if TYPE_CHECKING:
    from torch import Tensor

EDGE_RADIUS = 0.7


def check_visible(image: Image.Image, *, where: str) -> None:
    """Raises ImageError `transparent_image` for a photo without a visible pixel: on white it is a white square."""
    if "A" in image.getbands() and image.getchannel("A").getextrema()[1] == 0:
        raise ImageError(
            f"{where}: at least one pixel must be visible, every one is fully transparent; export the photo again "
            f"with its subject",
            code="transparent_image",
        )


def packshot(image: Image.Image, mask: NDArray[np.bool_] | None, *, size: int, margin: float) -> Image.Image:
    """The subject on white, centred in a square with its aspect kept: RGB, `size` x `size` pixels.

    image: upright RGB or RGBA; transparency becomes white. mask: [H, W] bool, or None for the whole photo.
    margin: white left on each side of the mask's bounding box, as a fraction of the square's side. A photo
    used whole (mask None or all True) gets no margin: it is padded to a square only.
    Raises ValueError for a mask of another shape or without a subject.
    """
    picture = on_white(image)
    if mask is None or bool(mask.all()):
        return _square(picture, size, 0.0)
    if mask.shape != (image.height, image.width):
        raise ValueError(f"mask must be {image.height} x {image.width} like the image, got {mask.shape}")
    if not mask.any():
        raise ValueError("mask must hold at least one pixel of the subject")
    box = bounding_box(mask)
    cut = picture.crop(box)
    ground = Image.new("RGB", cut.size, WHITE)
    ground.paste(cut, mask=_soft(mask[box[1] : box[3], box[0] : box[2]]))
    return _square(ground, size, margin)


def on_packshot(mask: NDArray[np.bool_], *, size: int, margin: float) -> NDArray[np.bool_]:
    """Where the packshot of the same arguments shows the subject: [size, size]. An edge counts as the subject."""
    if mask.all():
        return np.ones((size, size), dtype=np.bool_)
    left, top, right, bottom = bounding_box(mask)
    ground = Image.fromarray(np.where(mask[top:bottom, left:right], 0, 255).astype(np.uint8))
    return np.asarray(_square(ground, size, margin)) < 255


def to_tensor(image: Image.Image) -> Tensor:
    """[1, 3, H, W] float32 in [-1, 1], as the VAE takes it."""
    import torch

    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return (pixels / 127.5 - 1.0).permute(2, 0, 1)[None].contiguous()


def _soft(mask: NDArray[np.bool_]) -> Image.Image:
    """The mask with its edge softened inwards only, so that no background shows through."""
    hard = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    # Outside its frame the crop has no subject; without the border the blur would not know.
    padded = Image.new("L", (hard.width + 4, hard.height + 4))
    padded.paste(hard, (2, 2))
    blurred = np.asarray(padded.filter(ImageFilter.GaussianBlur(EDGE_RADIUS)))[2:-2, 2:-2]
    return Image.fromarray(np.where(mask, blurred, 0).astype(np.uint8))


def _square(picture: Image.Image, size: int, margin: float) -> Image.Image:
    """Scaled to fit between the margins and put in the middle; never larger than it has to be on the way."""
    scale = size * (1.0 - 2.0 * margin) / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    ground = Image.new(picture.mode, (size, size), "white")
    scaled = picture.resize((width, height), Image.Resampling.LANCZOS)
    ground.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return ground
