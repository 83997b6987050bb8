"""BLIP-Diffusion, without torch: a base of its own, with parts that no other Stable Diffusion folder has."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from dreamcache.core.config import SAVINGS, GenerationSettings, Guidance
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.sd_sizes import StableDiffusionFamily
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.files import hash_files

QFORMER_TOKENIZER = "qformer_tokenizer"
"""The BERT tokenizer that the pipeline would fetch from the hub."""

BLIP_PARTS = ("qformer", "image_processor")


class BlipDiffusionFamily(StableDiffusionFamily):
    """Takes no adapter: model.base is a BLIP-Diffusion folder or repository."""

    method: ClassVar[str] = "blip-diffusion"
    guidance: ClassVar[Guidance | None] = "joint"
    generation: ClassVar[frozenset[str]] = (
        frozenset(GenerationSettings.__dataclass_fields__)
        - {
            "guidance",
            "image_scale",
            "strength",
        }
        - set(SAVINGS)
    )

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """By the contents of the parts beside those of every Stable Diffusion folder."""
        self.refuse_adapter(adapter)
        return self.method_info(base, base.location, _content(base))


def _content(base: BaseInfo) -> dict[str, str]:
    if base.revision is not None:
        return {}  # the base's own fingerprint names the repository and its commit
    folder = Path(base.location)
    missing = [part for part in BLIP_PARTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"method 'blip-diffusion': model.base must be a BLIP-Diffusion folder, "
            f"{', '.join(missing)} missing in {folder}"
        )
    parts = [path for part in (*BLIP_PARTS, QFORMER_TOKENIZER) for path in sorted((folder / part).glob("*"))]
    return hash_files(folder, [folder / "model_index.json", *parts])


FAMILY = BlipDiffusionFamily()
