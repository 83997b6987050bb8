"""The base model: a diffusers Stable Diffusion pipeline, loaded from safetensors only, frozen.

Knows loading and nothing of adapters or references.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

from dreamcache.core.errors import ModelError
from dreamcache.model.unet import check_layout
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.node_cache import once_per_node


def load_base(info: BaseInfo, *, dtype: torch.dtype, device: str) -> StableDiffusionPipeline:
    """Loads weights to `device` in `dtype`, in eval mode and without gradients. Raises ModelError."""
    try:
        pipe = StableDiffusionPipeline.from_pretrained(local_base(info), dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"model '{info.name}': cannot be loaded as a StableDiffusionPipeline from safetensors: "
            f"{str(error).splitlines()[0]}"
        ) from error
    check_layout(pipe.unet)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False).eval()
    keep_rows_independent(pipe.vae)
    return pipe.to(device)


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
        return str(
            StableDiffusionPipeline.download(info.location, revision=info.revision, use_safetensors=True)
        )

    return once_per_node(f"{info.location}@{info.revision}", download)


def load_unet(info: BaseInfo) -> UNet2DConditionModel:
    """The U-Net alone, in float32 on the CPU: for tools that need its layout or only its weights."""
    try:
        unet = UNet2DConditionModel.from_pretrained(
            info.location, subfolder="unet", revision=info.revision, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model '{info.name}': its U-Net cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    check_layout(unet)
    return unet
