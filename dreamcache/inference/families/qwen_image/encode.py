"""A photo to what is stored of it: as its pipeline does it, and nothing of prompt or target in it.

photo (cut out on white, or as it is) -> resized to the area of size x size, sides a multiple of 32
  -> with its transparency: VAE mean, normalised -> latents [C, h, w]
  -> on white: what the language model will see -> picture [3, H, W]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from diffusers.pipelines.qwenimage21.pipeline_qwenimage21 import calculate_dimensions
from PIL import Image
from torch import Tensor

from dreamcache.inference.families.qwen_image.describe import (
    DOWN,
    FAMILY,
    LATENTS,
    MULTIPLE,
    PICTURE,
    sizes_of,
)
from dreamcache.inference.families.reference_kv import ReferenceKVFamily
from dreamcache.inference.families.reference_pipeline import MAX_RATIO, PhotoEncoder
from dreamcache.storage.feature_check import Expected


class QwenEncoder(PhotoEncoder):
    """Encodes references with one base and one group of resolved settings."""

    family: ClassVar[ReferenceKVFamily] = FAMILY

    def expected(self, reference_id: str) -> Expected:
        """What stored features of that reference must be; their grid is the photo's own."""
        side, half = self.settings.size, MULTIPLE // 2
        # Each side is rounded to the nearest multiple, and the longest photo is MAX_RATIO to one.
        most = int((side * MAX_RATIO**0.5 + half) * (side / MAX_RATIO**0.5 + half))
        places = {LATENTS: (sizes_of(self.info).channels, max(1, most // DOWN**2)), PICTURE: (3, most)}
        return Expected(reference_id=reference_id, settings=self.settings, most=places)

    def maps(self, picture: Image.Image, read: Image.Image) -> Mapping[str, Tensor]:
        """Latents, and the pixels that the language model sees."""
        return {LATENTS: self._latents(picture, read.size), PICTURE: self._seen(read)}

    def as_read(self, picture: Image.Image) -> Image.Image:
        """RGBA, up as well as down."""
        width, height, _ = calculate_dimensions(self.settings.size**2, picture.width / picture.height)
        sides = {"width": max(MULTIPLE, width), "height": max(MULTIPLE, height)}
        resized: Image.Image = self.base.image_processor.resize(picture.convert("RGBA"), **sides)
        return resized

    @torch.no_grad()
    def _latents(self, picture: Image.Image, size: tuple[int, int]) -> Tensor:
        """The VAE reads four channels, transparency among them."""
        base = self.base
        pixels = base.image_processor.preprocess(picture.convert("RGBA"), width=size[0], height=size[1])
        pixels = pixels.unsqueeze(2).to(base._execution_device, base.vae.dtype)
        latents: Tensor = base._encode_vae_image(pixels, None)
        stored = latents[0, :, 0].to("cpu", getattr(torch, self.settings.dtype)).contiguous()
        base.maybe_free_model_hooks()
        return stored

    def _seen(self, resized: Image.Image) -> Tensor:
        white = Image.new("RGB", resized.size, (255, 255, 255))
        white.paste(resized, mask=resized.getchannel("A"))
        pixels = torch.from_numpy(np.array(white)).permute(2, 0, 1)
        return pixels.to(getattr(torch, self.settings.dtype)).contiguous()
