"""What is particular to the layout of a base that adapters are put on: identity, loading, texts, and dtypes.

    family --open.LAYOUT--> BaseLayout --> the public pipeline, references, training

Everything else of the method is the same for every U-Net base. `BaseLayout` itself is that of Stable Diffusion 1.x and
2.x; a family of another layout has a subclass in its folder. Knows diffusers' pipelines; knows nothing of adapters.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers import DiffusionPipeline

from dreamcache.core.errors import ModelError
from dreamcache.model.base import BaseClasses, load_base
from dreamcache.model.text import PromptEncoder
from dreamcache.storage.models.base import BaseInfo, describe_base


class BaseLayout:
    """Of Stable Diffusion 1.x and 2.x. classes: what a base is loaded as."""

    classes: ClassVar[BaseClasses] = BaseClasses()

    def describe(self, name: str, revision: str | None) -> BaseInfo:
        """Identity and sizes of a base. Raises ModelError when it is missing or of another layout."""
        return describe_base(name, revision)

    def load(self, info: BaseInfo, *, dtype: torch.dtype, device: str) -> DiffusionPipeline:
        """The frozen diffusers pipeline with its LoRAs. Raises ModelError."""
        return load_base(info, dtype=dtype, device=device, classes=self.classes)

    def check(self, base: DiffusionPipeline) -> None:
        """Raises ModelError for a loaded pipeline of another layout."""
        addition = base.unet.config.get("addition_embed_type")
        if addition != self.classes.addition:
            raise ModelError(
                f"base: must be of the layout of {self.classes.pipeline.__name__}, got a U-Net with "
                f"addition_embed_type {addition!r}; open it with from_pretrained"
            )

    def prompts(self, base: DiffusionPipeline) -> PromptEncoder:
        """What turns prompts into what the U-Net reads, for the device and dtype that the base has now."""
        return PromptEncoder(base.tokenizer, base.text_encoder)

    def move(self, base: DiffusionPipeline, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """To a device, a dtype or both; None leaves it."""
        where = {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
        base.to(**where)


STABLE_DIFFUSION = BaseLayout()
