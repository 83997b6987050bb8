"""The base model: a diffusers Stable Diffusion pipeline, loaded from safetensors only, frozen.

Knows loading and nothing of adapters or references.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torch import Tensor, nn
from transformers import CLIPTextModel

from dreamcache.core.errors import ModelError
from dreamcache.model.loras import fuse_loras
from dreamcache.model.unet import check_layout
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.files import read_json
from dreamcache.storage.models.weights import VARIANT, weight_files
from dreamcache.storage.node_cache import once_per_node

VARIANT_CLASSES: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "safety_checker": StableDiffusionSafetyChecker,
}


def load_base(info: BaseInfo, *, dtype: torch.dtype, device: str) -> StableDiffusionPipeline:
    """Loads weights to `device` in `dtype`, in eval mode and without gradients. Raises ModelError."""
    folder = Path(local_base(info))
    try:
        pipe = StableDiffusionPipeline.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, **_variant_components(folder, dtype)
        )
        for name in ("unet", "vae", "text_encoder"):
            check_whole(name, getattr(pipe, name))
    except ModelError:
        raise
    except Exception as error:  # loaders raise types of their own for files that do not fit
        raise ModelError(
            f"model '{info.name}': cannot be loaded as a StableDiffusionPipeline from safetensors: "
            f"{first_line(error)}"
        ) from error
    if info.loras:
        fuse_loras(pipe, info.loras)
    check_layout(pipe.unet)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False).eval()
    keep_rows_independent(pipe.vae)
    return pipe.to(device)


def _variant_components(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Components whose only weights are the variant fp16, loaded; diffusers would look for full ones alone."""
    index = read_json(folder / "model_index.json")
    components: dict[str, Any] = {}
    for name, kind in VARIANT_CLASSES.items():
        if index.get(name) in (None, [None, None]):
            continue
        variant = weight_files(folder / name).variant
        if variant is not None:
            components[name] = kind.from_pretrained(
                folder / name, variant=variant, dtype=dtype, use_safetensors=True
            )
    return components


def check_whole(name: str, module: nn.Module) -> None:
    """Raises ModelError where a tensor was in no file: it is on the device "meta", and would fail when it is moved."""
    missing = [key for key, tensor in module.state_dict().items() if tensor.is_meta]
    if missing:
        raise ModelError(
            f"{name}: the weights lack {len(missing)} tensors that its config needs, e.g. {missing[0]}; copy weights "
            f"and config of one model"
        )


def first_line(error: Exception) -> str:
    """Of what a loader says, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def keep_rows_independent(vae: AutoencoderKL) -> None:
    """On a CPU, the attention of the VAE's middle blocks leaves its output in rows (NCHW).

    It leaves channels last, which all later layers keep. There torch's group norm adds up an image's pixels in one part
    per thread, cut without regard to images: with two threads, the second of three images got other last bits than the
    first. In rows each image is added up by itself, whatever its neighbours are.
    """
    for half in (vae.encoder, vae.decoder):
        for attention in half.mid_block.attentions:
            if attention is not None:
                attention.register_forward_hook(_in_rows)


def _in_rows(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.contiguous() if output.device.type == "cpu" else output


def local_base(info: BaseInfo) -> str:
    """The base's folder on this machine, downloaded from the hub by one process for all where it must be."""
    if info.revision is None:
        return info.location

    def download() -> str:
        for variant in (None, VARIANT):
            with suppress(Exception):  # a repository with the variant alone has no full weights to download
                folder = StableDiffusionPipeline.download(
                    info.location, revision=info.revision, use_safetensors=True, variant=variant
                )
                weight_files(Path(folder) / "unet")
                return str(folder)
        raise ModelError(
            f"model '{info.name}' at revision '{info.revision}': cannot be downloaded with safetensors weights; check "
            f"id, revision and network, or give a folder"
        )

    return once_per_node(f"{info.location}@{info.revision}", download)


def load_unet(info: BaseInfo) -> UNet2DConditionModel:
    """The U-Net alone, in float32 on the CPU: for tools that need its layout or only its weights."""
    folder = Path(local_base(info)) / "unet"
    try:
        variant = weight_files(folder).variant
        unet = UNet2DConditionModel.from_pretrained(folder, variant=variant, use_safetensors=True)
        check_whole("unet", unet)
    except ModelError:
        raise
    except Exception as error:  # as in `load_base`
        raise ModelError(f"model '{info.name}': its U-Net cannot be loaded: {first_line(error)}") from error
    check_layout(unet)
    return unet
