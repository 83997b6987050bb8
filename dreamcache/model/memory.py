"""Models larger than a card, by diffusers' own means: linear layers in fewer bits, and weights that stay off the card.

    quantization(..) --from_pretrained--> a pipeline whose large parts have int8 or nf4 weights
    place(pipe, device, offload)          "none": all on the device; "model": a model for its own passes;
                                          "sequential": a layer for its own pass

Knows diffusers, transformers and accelerate's hooks; knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline
from torch import nn

from dreamcache.core.config import Offload, Quantize

TEXT = "text_encoder"
"""Parts whose name begins so are transformers' models; the others are diffusers'."""


def part_config(part: str, mode: Quantize, dtype: torch.dtype) -> object:
    """The configuration with which a part's `from_pretrained` quantizes its linear layers. mode: not "none"."""
    if part.startswith(TEXT):
        from transformers import BitsAndBytesConfig, TorchAoConfig
    else:
        from diffusers import BitsAndBytesConfig, TorchAoConfig
    if mode == "int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def quantization(parts: Sequence[str], mode: Quantize, dtype: torch.dtype) -> dict[str, object]:
    """The argument of a pipeline's `from_pretrained` that quantizes these parts; none for "none"."""
    if mode == "none":
        return {}
    from diffusers.quantizers import PipelineQuantizationConfig

    mapping = {part: part_config(part, mode, dtype) for part in parts}
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping=mapping)}


def place(pipe: DiffusionPipeline, device: str, offload: Offload = "none") -> DiffusionPipeline:
    """The pipeline, ready for passes on `device`. On a CPU nothing is offloaded: weights are where they belong."""
    if offload == "none" or torch.device(device).type == "cpu":
        return pipe.to(device)
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)
    return pipe


def running_device(module: nn.Module) -> torch.device:
    """Where a model's passes run: with offloading its weights may be elsewhere, or nowhere, in between."""
    for part in module.modules():
        device = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return next(module.parameters()).device


def bytes_to_come(pipe: DiffusionPipeline) -> int:
    """The most that offloaded models take of a device at once, which they do not take between passes."""
    from accelerate.hooks import CpuOffload

    parts = [
        part for part in pipe.components.values() if isinstance(getattr(part, "_hf_hook", None), CpuOffload)
    ]
    return max((sum(weight.nbytes for weight in part.parameters()) for part in parts), default=0)
