"""DreamCache on SDXL, opened: the public pipeline with SDXL's layout, and features through the cache as in `sd`."""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from dreamcache.inference.families.sd.open import open_pipeline, open_references
from dreamcache.inference.families.sdxl.describe import FAMILY
from dreamcache.inference.families.sdxl.prompts import SDXLPromptEncoder
from dreamcache.inference.layouts import BaseLayout
from dreamcache.model.base import BaseClasses
from dreamcache.model.text import PromptEncoder
from dreamcache.model.unet import TEXT_TIME
from dreamcache.storage.models.base import BaseInfo

__all__ = ["LAYOUT", "open_pipeline", "open_references"]


class SDXLLayout(BaseLayout):
    """Of StableDiffusionXLPipeline. A VAE that overflows in float16 (force_upcast) stays in float32."""

    classes: ClassVar[BaseClasses] = BaseClasses(
        pipeline=StableDiffusionXLPipeline,
        parts={
            "unet": UNet2DConditionModel,
            "vae": AutoencoderKL,
            "text_encoder": CLIPTextModel,
            "text_encoder_2": CLIPTextModelWithProjection,
        },
        addition=TEXT_TIME,
        further={"image_encoder": None, "feature_extractor": None, "add_watermarker": False},
        upcasts_vae=True,
    )

    def describe(self, name: str, revision: str | None) -> BaseInfo:
        """See `BaseLayout.describe`."""
        return FAMILY.describe_base(name, revision)

    def load(self, info: BaseInfo, *, dtype: torch.dtype, device: str) -> DiffusionPipeline:
        """See `BaseLayout.load`. The VAE decodes one image at a time: at 1024 px and in float32 one takes gigabytes."""
        base = super().load(info, dtype=dtype, device=device)
        base.vae.enable_slicing()
        return base

    def prompts(self, base: DiffusionPipeline) -> PromptEncoder:
        """See `BaseLayout.prompts`."""
        return SDXLPromptEncoder(base)

    def move(self, base: DiffusionPipeline, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `BaseLayout.move`. A VAE in float32 for its range is not converted."""
        if device is not None:
            base.to(device)
        if dtype is None:
            return
        for name in self.classes.parts:
            if not (name == "vae" and base.vae.config.force_upcast):
                getattr(base, name).to(dtype)


LAYOUT = SDXLLayout()
