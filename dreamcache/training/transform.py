"""The training transform: a target image, and the reference cut out of it (docs/method.md section 4).

Knows Pillow and numpy; knows nothing of where samples come from or what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from dreamcache.core.config.train import TransformSettings
from dreamcache.core.images import WHITE, bounding_box, on_white
from dreamcache.model.preprocess import packshot


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemShape:
    """size: pixels; latent: channels, height, width of the base's latents."""

    size: int
    latent: tuple[int, int, int]


Floats = NDArray[np.float32]


class Target(TypedDict):
    """pixels: [3, S, S] in -1..1; mask: [1, h, w], the share of each latent cell that the subject covers."""

    pixels: Floats
    mask: Floats


def reference_view(
    image: Image.Image,
    mask: NDArray[np.bool_] | None,
    settings: TransformSettings,
    *,
    size: int,
    rng: np.random.Generator,
    framed: bool = False,
) -> Image.Image:
    """The reference from the target's own subject: RGB on white, `size` x `size` pixels (docs/method.md section 4).

    image: RGB or RGBA; mask: [H, W] bool, None takes the whole image. framed: the image is a photo of its own, already
    on white, and fills the frame as it is. The same `rng` state gives the same pixels.
    """
    if rng.random() < settings.jitter_p:
        image = _jitter(image, settings, rng)
    # The subject alone on white, its longer side a random share of the frame's.
    side = size if framed else max(1, round(size * rng.uniform(settings.min_side, 1.0)))
    subject = packshot(image, mask, size=side, margin=0.0)
    if rng.random() < settings.flip_p:
        subject = subject.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # At random in the frame. The white beside a narrow subject may leave the frame, the subject does not.
    frame = Image.new("RGB", (size, size), WHITE)
    blank = (0, 0) if framed else _blank_sides(image, mask, side)
    x, y = (int(rng.integers(-pad, size - side + pad + 1)) for pad in blank)
    frame.paste(subject, (x, y))
    # A white rectangle over a part, so that no single part of the subject is relied on.
    if rng.random() < settings.erase_p:
        area = rng.uniform(*settings.erase_area) * size * size
        aspect = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
        width = min(size, max(1, round(float(np.sqrt(area * aspect)))))
        height = min(size, max(1, round(area / width)))
        corner = int(rng.integers(0, size - width + 1)), int(rng.integers(0, size - height + 1))
        frame.paste(WHITE, (*corner, corner[0] + width, corner[1] + height))
    return frame


def _jitter(image: Image.Image, settings: TransformSettings, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast, saturation by factors around 1, hue by a part of the circle."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    picture = image.convert("RGB")
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(rng.uniform(1 - settings.jitter, 1 + settings.jitter))
    hue, saturation, value = picture.convert("HSV").split()
    turn = round(255 * rng.uniform(-settings.jitter_hue, settings.jitter_hue))
    turned = Image.fromarray(np.asarray(hue) + np.array(turn % 256, np.uint8))
    picture = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    if alpha is not None:
        picture.putalpha(alpha)
    return picture


def _blank_sides(image: Image.Image, mask: NDArray[np.bool_] | None, side: int) -> tuple[int, int]:
    """Pixels of white left (and right), above (and below) the subject in a square of `side`."""
    if mask is None or bool(mask.all()):
        width, height = image.size
    else:
        left, top, right, bottom = bounding_box(mask)
        width, height = right - left, bottom - top
    longer = max(width, height)
    return side * (longer - width) // (2 * longer), side * (longer - height) // (2 * longer)


def target_view(image: Image.Image, mask: NDArray[np.bool_] | None, shape: ItemShape) -> Target:
    """The centre square of the image, and the mask on the latent grid."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    picture = on_white(image).resize((shape.size, shape.size), Image.Resampling.LANCZOS, box=box)
    marked = np.ones((height, width), bool) if mask is None else mask
    cover = Image.fromarray(np.where(marked, 255, 0).astype(np.uint8))
    cells = cover.resize(shape.latent[:0:-1], Image.Resampling.BOX, box=box)
    return Target(pixels=as_array(picture), mask=np.asarray(cells, np.float32)[None] / np.float32(255))


def as_array(image: Image.Image) -> NDArray[np.float32]:
    """RGB pixels [3, H, W] in -1..1."""
    return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1)
