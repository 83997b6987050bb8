"""The base model alone: what the prompt gives without any reference, the floor of every comparison.

The same noise for the same seed as personalized images; equal to diffusers' own pipeline. Knows DreamCachePipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from PIL import Image

from dreamcache.core.config import EncodeSettings
from dreamcache.inference.pipeline import DreamCachePipeline, PipelineOutput
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.base import load_base
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


class TextOnly:
    """A pipeline that takes subjects and reads nothing of them."""

    def __init__(self, info: BaseInfo, adapter_info: AdapterInfo, *, dtype: torch.dtype, device: str) -> None:
        self.info, self.adapter_info = info, adapter_info
        self.base = load_base(info, dtype=dtype, device=device)
        self.plain = DreamCachePipeline(self.base, info, None)
        self.prompts = self.plain.prompts

    def encode_reference(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> None:
        """Nothing is read of a photo."""

    def __call__(
        self,
        prompt: Sequence[str],
        subject: Sequence[None] = (),
        *,
        negative_prompt: str = "",
        generator: Sequence[torch.Generator],
        **settings: Unpack[SamplingSettings],
    ) -> PipelineOutput:
        """As DreamCachePipeline, without subjects: image_scale and strength have no meaning here."""
        output: PipelineOutput = self.plain(
            prompt, None, negative_prompt=negative_prompt, generator=generator, **settings
        )
        return output
