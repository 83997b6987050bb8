"""Adapters on disk: `config.json` + `adapter.safetensors`, and `reference_unet.safetensors` where a U-Net of the
adapter's own reads references; and the importer of the published checkpoints.

A tensor is named `<place>.<parameter>`, e.g. `mid_block.attentions.0.to_q.weight`. A mismatch of places, names
or shapes is refused with both sides named. No pickle is loaded, but for the importer with `weights_only`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.core.texts import shown
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.places import default_places, place_shapes
from dreamcache.storage.bounded import NotRegular, TooLarge, read_regular
from dreamcache.storage.json_object import parse_object
from dreamcache.storage.models.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_FORMAT,
    ADAPTER_WEIGHTS,
    MAX_BYTES,
    REFERENCE_UNET,
    AdapterInfo,
)
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.open_store import join, store_for

TENSOR_FAULTS = (
    NotRegular,
    TooLarge,
    SafetensorError,
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
)
"""What a damaged file of tensors raises."""
PUBLISHED_PLACES = {
    "middle_block.1": "mid_block.attentions.0",
    "output_blocks.4.1": "up_blocks.1.attentions.1",
    "output_blocks.6.1": "up_blocks.2.attentions.0",
    "output_blocks.8.1": "up_blocks.2.attentions.2",
    "output_blocks.10.1": "up_blocks.3.attentions.1",
}
PUBLISHED_NAMES = {
    "attn_mem.to_q": "to_q",
    "attn_mem.to_k": "to_k",
    "attn_mem.to_v": "to_v",
    "attn_mem.to_out.0": "to_out",
    "norm2_mem": "norm",
    "linear_cat": "join",
}


def save_adapter(
    adapter: DreamCacheAdapter,
    folder: str,
    *,
    base: BaseInfo,
    step: int,
    dtype: torch.dtype = torch.float16,
    training: Mapping[str, Any] | None = None,
    reference_unet: Mapping[str, Tensor] | None = None,
    recommended: Mapping[str, float] | None = None,
) -> None:
    """Writes the adapter to a local or s3:// folder; the config last, so that a half-written folder is none.

    reference_unet: weights of the U-Net that reads references, where it was trained with the adapter. recommended:
    scales (`config.DEFAULT_SCALES`) that become the defaults of pipelines and jobs with this adapter.
    """
    store = store_for(folder)
    tensors = {name: value.to(dtype).contiguous().cpu() for name, value in named_tensors(adapter).items()}
    config: dict[str, Any] = {
        "format": ADAPTER_FORMAT,
        "base": {"name": base.name, "revision": base.revision, "fingerprint": base.fingerprint},
        "integration": adapter.integration,
        "features": adapter.features,
        "places": list(adapter.places),
        "step": step,
        "parameters": sum(p.numel() for p in adapter.parameters()),
        "training": dict(training or {}),
    }
    if recommended:
        config["recommended"] = dict(recommended)
    if reference_unet is not None:
        data = save({name: value.to(dtype).contiguous().cpu() for name, value in reference_unet.items()})
        config["reference_unet"] = {"file": REFERENCE_UNET, "sha256": ids.of_bytes(data)}
        store.write(join(folder, REFERENCE_UNET), data)
    store.write(
        join(folder, ADAPTER_WEIGHTS), save(tensors, metadata={"places": json.dumps(config["places"])})
    )
    store.write(join(folder, ADAPTER_CONFIG), (json.dumps(config, indent=1) + "\n").encode())


def recommend(folder: str, scales: Mapping[str, float]) -> dict[str, float]:
    """Writes scales (`config.DEFAULT_SCALES`) into an adapter's config.json, beside those that are there; returns all.

    folder: local or s3://. Fingerprint and item ids stay. Raises ModelError for a folder that holds no adapter.
    """
    store, uri = store_for(folder), join(folder, ADAPTER_CONFIG)
    try:
        config = parse_object(store.read(uri, MAX_BYTES[ADAPTER_CONFIG]))
        config["recommended"] = {**config.get("recommended", {}), **scales}
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise ModelError(
            f"adapter '{folder}': must hold a readable {ADAPTER_CONFIG}, got none ({error}); give an adapter folder"
        ) from error
    store.write(uri, (json.dumps(config, indent=1) + "\n").encode())
    return dict(config["recommended"])


def load_adapter(info: AdapterInfo, unet: UNet2DConditionModel) -> DreamCacheAdapter:
    """The adapter described by `info`, for this U-Net, in float32 on the CPU. Raises ModelError on a mismatch."""
    adapter = DreamCacheAdapter(
        place_shapes(unet, info.places, info.features), integration=info.integration, features=info.features
    )
    where = f"adapter '{info.location}'"
    tensors = read_tensors(Path(info.location) / ADAPTER_WEIGHTS, where)
    fill(adapter, tensors, where=where)
    return adapter


def read_tensors(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, all of them finite numbers. Raises ModelError."""
    try:
        tensors = load(read_regular(path, MAX_BYTES[path.name], where))
    except TENSOR_FAULTS as error:
        raise ModelError(
            f"{where}: {path.name} must be a safetensors file that is intact, got {type(error).__name__}: {error}; "
            "import or train it again"
        ) from error
    for name, value in tensors.items():
        if not value.is_floating_point() or not bool(torch.isfinite(value.float()).all()):
            raise ModelError(
                f"{where}: tensor {shown(name)} of {path.name} must hold finite numbers, holds others ({value.dtype}); "
                "import or train it again"
            )
    return tensors


def import_published(path: Path, unet: UNet2DConditionModel) -> DreamCacheAdapter:
    """Reads a published `cross_attention-<step>.pt` for the SD 1.x / 2.x layout.

    Raises ModelError for a file that is no plain state dict of tensors, for missing or extra keys, and for
    shapes that are not this base's.
    """
    where = f"checkpoint '{path}'"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        got = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{where}: must be a torch file of plain tensors; got: {got}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ModelError(f"{where}: must hold a flat state dict of tensors, got {type(state).__name__}")
    adapter = DreamCacheAdapter(place_shapes(unet, _published_layout(unet)))
    fill(adapter, {_from_published(name, where): value for name, value in state.items()}, where=where)
    return adapter


def named_tensors(adapter: DreamCacheAdapter) -> dict[str, Tensor]:
    """{"<place>.<parameter>": tensor}, the names used in files."""
    return {
        f"{place}.{name}": value
        for place in adapter.places
        for name, value in adapter.block(place).state_dict().items()
    }


def fill(adapter: DreamCacheAdapter, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Copies `tensors` into the adapter; every name and shape must match. Raises ModelError."""
    copy_into(named_tensors(adapter), tensors, where=where)


@torch.no_grad()
def copy_into(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Copies tensors by name; every name and shape must match. Raises ModelError."""
    missing, extra = sorted(targets.keys() - tensors.keys()), sorted(tensors.keys() - targets.keys())
    if missing or extra:
        raise ModelError(
            f"{where}: keys do not fit the base; missing {_some(missing)}; not expected {_some(extra)}"
        )
    for name, target in targets.items():
        if tensors[name].shape != target.shape:
            raise ModelError(
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, the loaded base needs "
                f"{tuple(target.shape)}; the checkpoint belongs to another base model"
            )
        try:
            target.copy_(tensors[name])
        except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantized, on no device
            raise ModelError(
                f"{where}: {name} must be a plain tensor, got {error}; import or train it again"
            ) from error


def _published_layout(unet: UNet2DConditionModel) -> tuple[str, ...]:
    places = default_places(unet)
    if set(places) != set(PUBLISHED_PLACES.values()):
        raise ModelError(
            f"published checkpoints are for the SD 1.x / 2.x layout with places "
            f"{', '.join(PUBLISHED_PLACES.values())}; the loaded base has {', '.join(places)}"
        )
    return tuple(PUBLISHED_PLACES.values())


def _from_published(name: str, where: str) -> str:
    place, _, rest = name.removeprefix("diffusion_model.").partition(".transformer_blocks.0.")
    module, _, parameter = rest.rpartition(".")
    if place not in PUBLISHED_PLACES or module not in PUBLISHED_NAMES:
        return name  # reported by fill() as not expected, under the file's own name
    return f"{PUBLISHED_PLACES[place]}.{PUBLISHED_NAMES[module]}.{parameter}"


def _some(names: list[str]) -> str:
    return (
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "none"
    )
