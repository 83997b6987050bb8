"""Which methods there are, and what of them decides pixels, read from files without torch.

Knows layouts of published weights; loads none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.adapter import AdapterInfo, describe_adapter
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.files import hash_files

METHOD_VERSION = 1
"""Raised when a release changes the pixels of a method other than dreamcache."""

HUB = "hub://"
IMAGE_ENCODER = "image_encoder"
QFORMER_TOKENIZER = "qformer_tokenizer"
"""Of a BLIP-Diffusion folder: the BERT tokenizer that its pipeline would fetch from the hub."""
BLIP_PARTS = ("qformer", "image_processor")


@dataclass(frozen=True, kw_only=True, slots=True)
class IpAdapterPlace:
    """Where an IP-Adapter lies: `file` and its `image_encoder/` beside it, in a folder or in a hub repository."""

    source: str
    folder: str
    file: str
    revision: str | None


def describe_method(method: str, adapter: str | None, base: BaseInfo) -> AdapterInfo:
    """What stands beside the base model, as it enters item ids. Raises ModelError naming what is missing.

    adapter: for dreamcache an adapter folder; for ip-adapter a .safetensors file, or
    hub://owner/name/folder/file.safetensors@commit; none for the others. blip-diffusion is a base of its own.
    """
    if method == "dreamcache":
        return describe_adapter(adapter, base)
    if method == "ip-adapter":
        return _info(method, base, adapter or "", _ip_adapter_content(adapter))
    if adapter is not None:
        raise ModelError(f"method '{method}': takes no adapter, got '{adapter}'; leave model.adapter out")
    return _info(method, base, base.location, _blip_content(base) if method == "blip-diffusion" else {})


def ip_adapter_place(adapter: str | None) -> IpAdapterPlace:
    """Takes the name of an IP-Adapter apart. Raises ModelError when it is neither a file nor a hub name."""
    rule = (
        "must be a .safetensors file with image_encoder/ beside it, or "
        "hub://owner/name/folder/file.safetensors@commit (40 hex digits)"
    )
    if adapter is None:
        raise ModelError(f"method 'ip-adapter': model.adapter {rule}, got none")
    if adapter.startswith(HUB):
        found = re.fullmatch(
            r"([^/@]+/[^/@]+)/((?:[^@]+/)?)([^/@]+\.safetensors)@([0-9a-f]{40})", adapter[len(HUB) :]
        )
        if not found:
            raise ModelError(f"method 'ip-adapter': model.adapter {rule}, got '{adapter}'")
        return IpAdapterPlace(source=found[1], folder=found[2].rstrip("/"), file=found[3], revision=found[4])
    path = Path(adapter).expanduser()
    encoder = path.parent / IMAGE_ENCODER
    if path.suffix != ".safetensors" or not path.is_file() or not (encoder / "config.json").is_file():
        raise ModelError(f"method 'ip-adapter': model.adapter {rule}, got '{adapter}'")
    return IpAdapterPlace(source=str(path.parent), folder="", file=path.name, revision=None)


def _ip_adapter_content(adapter: str | None) -> dict[str, str]:
    place = ip_adapter_place(adapter)
    if place.revision is not None:
        return {"hub": f"{place.source}/{place.folder}/{place.file}@{place.revision}"}
    folder = Path(place.source)
    encoder = sorted((folder / IMAGE_ENCODER).iterdir())
    return hash_files(folder, [folder / place.file, *encoder])


def _blip_content(base: BaseInfo) -> dict[str, str]:
    """What BLIP-Diffusion reads beside the parts that every Stable Diffusion folder has."""
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


def _info(method: str, base: BaseInfo, location: str, content: dict[str, str]) -> AdapterInfo:
    return AdapterInfo(
        location=location,
        fingerprint=ids.of_values("method", name=method, version=METHOD_VERSION, content=content),
        base_name=base.name,
        base_fingerprint=base.fingerprint,
        places=(),
        integration=method,
        step=0,
    )
