"""IP-Adapter, without torch: where its weights and image encoder are, and what of them decides pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dreamcache.core.config import SAVINGS, GenerationSettings, Guidance
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.sd_sizes import StableDiffusionFamily
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.files import hash_files

HUB = "hub://"
IMAGE_ENCODER = "image_encoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class IpAdapterFiles:
    """Where an IP-Adapter is: `file` and its `image_encoder/` beside it, in a folder or in a hub repository."""

    source: str
    folder: str
    file: str
    revision: str | None


class IpAdapterFamily(StableDiffusionFamily):
    """adapter: a .safetensors file, or hub://owner/name/folder/file.safetensors@commit."""

    method: ClassVar[str] = "ip-adapter"
    guidance: ClassVar[Guidance | None] = "joint"
    generation: ClassVar[frozenset[str]] = (
        frozenset(GenerationSettings.__dataclass_fields__)
        - {
            "guidance",
            "strength",
        }
        - set(SAVINGS)
    )

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """By the contents of the weights and of the image encoder."""
        return self.method_info(base, adapter or "", _content(adapter))


def ip_adapter_files(adapter: str | None) -> IpAdapterFiles:
    """Takes the name of an IP-Adapter apart. Raises ModelError when it is neither a file nor a hub name."""
    rule = (
        "must be a .safetensors file with image_encoder/ beside it, or "
        "hub://owner/name/folder/file.safetensors@commit (40 hex digits)"
    )
    if adapter is None:
        raise ModelError(f"method 'ip-adapter': model.adapter {rule}, got none")
    if adapter.startswith(HUB):
        match = re.fullmatch(
            r"([^/@]+/[^/@]+)/((?:[^@]+/)?)([^/@]+\.safetensors)@([0-9a-f]{40})", adapter[len(HUB) :]
        )
        if not match:
            raise ModelError(f"method 'ip-adapter': model.adapter {rule}, got '{adapter}'")
        return IpAdapterFiles(source=match[1], folder=match[2].rstrip("/"), file=match[3], revision=match[4])
    path = Path(adapter).expanduser()
    encoder = path.parent / IMAGE_ENCODER
    if path.suffix != ".safetensors" or not path.is_file() or not (encoder / "config.json").is_file():
        raise ModelError(f"method 'ip-adapter': model.adapter {rule}, got '{adapter}'")
    return IpAdapterFiles(source=str(path.parent), folder="", file=path.name, revision=None)


def _content(adapter: str | None) -> dict[str, str]:
    files = ip_adapter_files(adapter)
    if files.revision is not None:
        return {"hub": f"{files.source}/{files.folder}/{files.file}@{files.revision}"}
    folder = Path(files.source)
    encoder = sorted((folder / IMAGE_ENCODER).iterdir())
    return hash_files(folder, [folder / files.file, *encoder])


FAMILY = IpAdapterFamily()
