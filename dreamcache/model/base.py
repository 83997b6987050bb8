"""The base model: a diffusers pipeline around a U-Net, loaded from safetensors only, frozen.

`BaseClasses` says which pipeline, for another layout than Stable Diffusion's. Knows loading and nothing of adapters or
references.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torch import Tensor, nn
from transformers import CLIPTextModel

from dreamcache.core.config import Quantize
from dreamcache.core.errors import ModelError
from dreamcache.model.loras import fuse_loras
from dreamcache.model.memory import part_config, quantization
from dreamcache.model.unet import check_layout
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.files import read_json
from dreamcache.storage.models.weights import VARIANT, weight_files
from dreamcache.storage.node_cache import once_per_node


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseClasses:
    """What a base of one layout is loaded as. parts: with weights, by name; further: arguments of from_pretrained.

    addition: `addition_embed_type` of its U-Net. quantized: parts that the base's `quantize` is for. upcasts_vae:
    whether the VAE stays in float32 where its config has force_upcast, as one that overflows in float16.
    """

    pipeline: type[DiffusionPipeline] = StableDiffusionPipeline
    parts: Mapping[str, Any] = field(
        default_factory=lambda: {
            "unet": UNet2DConditionModel,
            "vae": AutoencoderKL,
            "text_encoder": CLIPTextModel,
        }
    )
    addition: str | None = None
    quantized: tuple[str, ...] = ("unet",)
    further: Mapping[str, Any] = field(default_factory=dict)
    upcasts_vae: bool = False

    def dtypes(self, folder: Path, dtype: torch.dtype) -> dict[str, torch.dtype]:
        """Of each part of the model in `folder`. Raises ModelError."""
        dtypes = dict.fromkeys(self.parts, dtype)
        if self.upcasts_vae and read_json(folder / "vae" / "config.json").get("force_upcast", True):
            dtypes["vae"] = torch.float32
        return dtypes


SAFETY = {"safety_checker": StableDiffusionSafetyChecker}
"""Loaded with Stable Diffusion where model_index.json names it."""


def load_base(
    info: BaseInfo, *, dtype: torch.dtype, device: str, classes: BaseClasses = BaseClasses()
) -> DiffusionPipeline:
    """A pipeline of `classes` with weights on `device` in `dtype`, frozen. Raises ModelError."""
    folder = Path(local_base(info, classes.pipeline))
    kind: Any = classes.pipeline
    try:
        dtypes = classes.dtypes(folder, dtype)
        fewer_bits = quantization(classes.quantized, info.quantize, dtype)
        pipe = kind.from_pretrained(
            str(folder),
            dtype={**dtypes, "default": dtype},
            use_safetensors=True,
            **_variant_components(folder, classes, dtypes, info.quantize),
            **fewer_bits,
            **classes.further,
        )
        for name in classes.parts:
            check_whole(name, getattr(pipe, name))
    except ModelError:
        raise
    except Exception as error:  # loaders raise types of their own for files that do not fit
        raise ModelError(
            f"model '{info.name}': cannot be loaded as a {kind.__name__} from safetensors: {first_line(error)}"
        ) from error
    if info.loras:
        fuse_loras(pipe, info.loras)
    check_layout(pipe.unet, classes.addition)
    pipe.set_progress_bar_config(disable=True)
    for name in classes.parts:
        getattr(pipe, name).requires_grad_(False).eval()
    keep_rows_independent(pipe.vae)
    return pipe.to(device)


def _variant_components(
    folder: Path, classes: BaseClasses, dtypes: Mapping[str, torch.dtype], quantize: Quantize
) -> dict[str, Any]:
    """Components whose only weights are the variant fp16, loaded; diffusers would look for full ones alone."""
    index = read_json(folder / "model_index.json")
    components: dict[str, Any] = {}
    for name, kind in {**classes.parts, **SAFETY}.items():
        if index.get(name) in (None, [None, None]):
            continue
        variant = weight_files(folder / name).variant
        if variant is not None:
            dtype, fewer_bits = dtypes.get(name, dtypes["unet"]), {}
            if name in classes.quantized and quantize != "none":
                fewer_bits = {"quantization_config": part_config(name, quantize, dtype)}
            components[name] = kind.from_pretrained(
                folder / name, variant=variant, dtype=dtype, use_safetensors=True, **fewer_bits
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


def local_base(info: BaseInfo, kind: type[DiffusionPipeline] = StableDiffusionPipeline) -> str:
    """The base's folder on this machine, downloaded from the hub by one process for all where it must be."""
    if info.revision is None:
        return info.location

    def download() -> str:
        for variant in (None, VARIANT):
            with suppress(Exception):  # a repository with the variant alone has no full weights to download
                folder = kind.download(
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
