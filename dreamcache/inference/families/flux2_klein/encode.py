"""A photo to the latents that are stored: as its pipeline does it, and nothing of prompt or target in it.

photo (cut out on white, or as it is) -> area of at most size x size, sides a multiple of the patch -> VAE mean
  -> 2 x 2 patches as channels -> normalised by the VAE's batch statistics -> [C, h, w]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from dreamcache.core.images import on_white
from dreamcache.inference.families.flux2_klein.describe import FAMILY, LATENTS, MIN_SIDE, sizes_of
from dreamcache.inference.families.reference_kv import ReferenceKVFamily
from dreamcache.inference.families.reference_pipeline import PhotoEncoder
from dreamcache.storage.feature_check import Expected


class KleinEncoder(PhotoEncoder):
    """Encodes references with one base and one group of resolved settings."""

    family: ClassVar[ReferenceKVFamily] = FAMILY
    min_side: ClassVar[int] = MIN_SIDE

    def expected(self, reference_id: str) -> Expected:
        """What stored latents of that reference must be; their grid is the photo's own."""
        sizes = sizes_of(self.info)
        most = {LATENTS: (sizes.channels, sizes.most_positions(self.settings.size))}
        return Expected(reference_id=reference_id, settings=self.settings, most=most)

    def whole(self, image: Image.Image) -> Image.Image:
        """Transparent parts are white."""
        return on_white(image)

    def maps(self, picture: Image.Image, read: Image.Image) -> Mapping[str, Tensor]:
        """The latents alone."""
        return {LATENTS: self._latents(picture)}

    @torch.no_grad()
    def _latents(self, picture: Image.Image) -> Tensor:
        base, processor = self.base, self.base.image_processor
        area = self.settings.size**2
        if picture.width * picture.height > area:
            picture = processor._resize_to_target_area(picture, area)
        multiple = 2 * base.vae_scale_factor
        width, height = (max(multiple, side // multiple * multiple) for side in picture.size)
        pixels = processor.preprocess(picture, height=height, width=width, resize_mode="crop")
        latents: Tensor = base._encode_vae_image(pixels.to(base._execution_device, base.vae.dtype), None)
        stored = latents[0].to("cpu", getattr(torch, self.settings.dtype)).contiguous()
        base.maybe_free_model_hooks()
        return stored
