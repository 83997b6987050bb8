"""The base model alone, without torch: nothing stands beside it."""

from __future__ import annotations

from typing import ClassVar

from dreamcache.core.config import GenerationSettings
from dreamcache.inference.families.sd_sizes import StableDiffusionFamily
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


class TextOnlyFamily(StableDiffusionFamily):
    """Takes no adapter."""

    method: ClassVar[str] = "text-only"
    takes_loras: ClassVar[bool] = True
    generation: ClassVar[frozenset[str]] = frozenset(GenerationSettings.__dataclass_fields__) - {
        "guidance",
        "image_scale",
        "strength",
    }

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """The method alone."""
        self.refuse_adapter(adapter)
        return self.method_info(base, base.location, {})


FAMILY = TextOnlyFamily()
