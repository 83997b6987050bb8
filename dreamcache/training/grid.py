"""Sample grids while training: reference, target, and the image of the averaged adapter. Knows the pipeline."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.train import CAPTION, TrainSettings
from dreamcache.inference.layouts import STABLE_DIFFUSION, BaseLayout
from dreamcache.inference.pipeline import DreamCachePipeline
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.reference_unet import with_weights
from dreamcache.model.text import PromptError
from dreamcache.storage.models.base import BaseInfo
from dreamcache.training.dataset import Item


def sample_grid(
    base: DiffusionPipeline,
    info: BaseInfo,
    adapter: DreamCacheAdapter,
    settings: TrainSettings,
    items: Sequence[Item],
    reader: Mapping[str, Tensor] | None = None,
    layout: BaseLayout = STABLE_DIFFUSION,
) -> Image.Image:
    """A row per item: its reference, its target, and an image of its caption with that reference.

    base: of `layout`. reader: weights of the U-Net that reads references, where it is not the base's.
    """
    unet = with_weights(base.unet, reader, reader, where="training") if reader is not None else None
    # The pipeline casts its adapter in place.
    pipe = DreamCachePipeline(base, info, copy.deepcopy(adapter), reader=unet, layout=layout)
    side = items[0]["pixels"].shape[-1]
    encodes = [
        EncodeSettings(
            size=side,
            timestep=settings.reference.timestep,
            text=settings.reference.text.replace(CAPTION, item["caption"]),
            segmenter="none",
        )
        for item in items
    ]
    views, every = [as_image(item["reference"]) for item in items], settings.every
    images = pipe(
        [_fitting(pipe, item["caption"]) for item in items],
        [pipe.encode_reference(view, settings=one) for view, one in zip(views, encodes, strict=True)],
        text_scale=every.text_scale,
        image_scale=every.image_scale,
        num_inference_steps=every.sample_steps,
        height=side,
        width=side,
        generator=[torch.Generator().manual_seed(number) for number in range(len(items))],
    ).images
    grid = Image.new("RGB", (3 * side, len(items) * side))
    for row, (item, view, image) in enumerate(zip(items, views, images, strict=True)):
        for column, picture in enumerate((view, as_image(item["pixels"]), image)):
            grid.paste(picture, (column * side, row * side))
    return grid


def _fitting(pipe: DreamCachePipeline, caption: str) -> str:
    """The caption without the last words that the text model has no tokens for."""
    words = caption.split()
    while words:
        try:
            pipe.prompts.check(" ".join(words))
            break
        except PromptError:
            words.pop()
    return " ".join(words)


def as_image(pixels: NDArray[np.float32]) -> Image.Image:
    """RGB from [3, H, W] in -1..1."""
    values = (pixels.transpose(1, 2, 0) + 1) * 127.5
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
