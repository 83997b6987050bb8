"""A photo to what is stored of it: as its pipeline does it, and nothing of prompt or target in it.

photo (cut out on white, or as it is) -> resized to the area of size x size, sides a multiple of 32
  -> with its transparency: VAE mean, normalised -> latents [C, h, w]
  -> on white: what the language model will see -> picture [3, H, W]
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import QwenImage21Pipeline
from diffusers.pipelines.qwenimage21.pipeline_qwenimage21 import calculate_dimensions
from PIL import Image
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ImageError
from dreamcache.core.records import cache_key
from dreamcache.inference.encode import Encoded, segmented
from dreamcache.inference.families.qwen_image.describe import (
    DOWN,
    LATENTS,
    MAX_RATIO,
    MULTIPLE,
    PICTURE,
    sizes_of,
)
from dreamcache.model.features import SubjectFeatures
from dreamcache.model.preprocess import check_visible, packshot
from dreamcache.segment import SegmenterSet
from dreamcache.storage.feature_check import Expected
from dreamcache.storage.models.base import BaseInfo


class QwenEncoder:
    """Encodes references with one base and one group of resolved settings."""

    def __init__(self, base: QwenImage21Pipeline, info: BaseInfo, settings: EncodeSettings) -> None:
        self.base, self.info, self.settings = base, info, settings
        self.segmenters = SegmenterSet(settings.segmenter_models, device=str(base.device))

    def encode(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        reference_id: str | None = None,
        where: str = "reference",
    ) -> Encoded:
        """Encodes one upright RGB(A) photo. Raises ImageError for one that is too long, or `no_mask`."""
        settings = self.settings
        check_visible(image, where=where)
        picture, note = self._picture(image, mask, class_name, where)
        resized = self._resized(picture)
        if reference_id is None:
            reference_id = ids.of_values("picture", pixels=ids.of_bytes(resized.tobytes()), size=resized.size)
        features = SubjectFeatures(
            cache_key=cache_key(reference_id, self.info.fingerprint, settings, class_name),
            reference_id=reference_id,
            base_fingerprint=self.info.fingerprint,
            maps={LATENTS: self._latents(picture, resized.size), PICTURE: self._seen(resized)},
            settings=settings.as_dict(),
            segment_note=note,
        )
        return Encoded(features=features, packshot=picture)

    def expected(self, reference_id: str) -> Expected:
        """What stored features of that reference must be; their grid is the photo's own."""
        side, half = self.settings.size, MULTIPLE // 2
        # Each side is rounded to the nearest multiple, and the longest photo is MAX_RATIO to one.
        most = int((side * MAX_RATIO**0.5 + half) * (side / MAX_RATIO**0.5 + half))
        places = {LATENTS: (sizes_of(self.info).channels, max(1, most // DOWN**2)), PICTURE: (3, most)}
        return Expected(reference_id=reference_id, settings=self.settings, most=places)

    def _picture(
        self, image: Image.Image, mask: Image.Image | None, class_name: str, where: str
    ) -> tuple[Image.Image, str | None]:
        settings = self.settings
        note = None
        if settings.segmenter != "none" or mask is not None:
            segment = segmented(image, mask, settings, self.segmenters, class_name=class_name, where=where)
            if segment.mask is not None:
                return packshot(image, segment.mask, size=settings.size, margin=settings.margin), None
            note = segment.reason
        width, height = image.size
        if max(image.size) > MAX_RATIO * min(image.size):
            raise ImageError(
                f"{where}: a side may be at most {MAX_RATIO} times the other for a Qwen-Image 2.1 model, got "
                f"{width}x{height}; crop it",
                code="bad_shape",
            )
        return image, note

    def _resized(self, picture: Image.Image) -> Image.Image:
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
