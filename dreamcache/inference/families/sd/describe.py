"""DreamCache on Stable Diffusion, without torch: an adapter folder, features in the cache."""

from __future__ import annotations

import re
from typing import ClassVar

from dreamcache.core.config import Offload
from dreamcache.inference.families.family import Photos
from dreamcache.inference.families.sd_sizes import StableDiffusionFamily
from dreamcache.storage.models.adapter import AdapterInfo, describe_adapter
from dreamcache.storage.models.base import BaseInfo, pipeline_class


class StableDiffusion(StableDiffusionFamily):
    """adapter: a folder or s3:// URI; None takes the embedded one."""

    method: ClassVar[str] = "dreamcache"
    takes_loras: ClassVar[bool] = True
    offloads: ClassVar[frozenset[Offload]] = frozenset({"model", "sequential"})
    quantized: ClassVar[tuple[str, ...]] = ("unet",)
    caches_features: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    decodes_apart: ClassVar[bool] = True
    trains_adapters: ClassVar[bool] = True
    photos: ClassVar[Photos] = "set"
    per_image: ClassVar[frozenset[str]] = frozenset(
        {"negative_prompt", "text_scale", "image_scale", "strength"}
    )

    def recognizes(self, base: str, revision: str | None) -> bool:
        """By model_index.json; a base without one is for `describe_base` to judge."""
        named = pipeline_class(base, revision)
        return named is None or re.fullmatch(r"StableDiffusion(?!XL|3)\w*", named) is not None

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """See `storage.models.adapter.describe_adapter`."""
        return describe_adapter(adapter, base)


FAMILY = StableDiffusion()
