"""LoRA files for the tiny base: what diffusers' trainers write, of random numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

UNET_LAYERS = ("attn1.to_q", "attn2.to_v", "attn1.to_out.0")


def write_lora(path: Path, base: Path, *, seed: int = 0, rank: int = 2, size: float = 1.0) -> Path:
    """A LoRA of attention in U-Net and text encoder, in diffusers' names; `size` scales its change."""
    save_file(lora_tensors(base, seed=seed, rank=rank, size=size), path)
    return path


def lora_tensors(base: Path, *, seed: int = 0, rank: int = 2, size: float = 1.0) -> dict[str, torch.Tensor]:
    """See `write_lora`."""
    from safetensors import safe_open

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    parts = {"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}
    for part, file in parts.items():
        layers = UNET_LAYERS if part == "unet" else ("self_attn.q_proj",)
        with safe_open(base / part / file, "pt") as weights:
            for name in weights.keys():
                layer = name.removesuffix(".weight")
                if name.endswith(".weight") and layer.endswith(layers):
                    out, inner = weights.get_slice(name).get_shape()
                    shapes = {"lora_A": (rank, inner), "lora_B": (out, rank)}
                    for matrix, shape in shapes.items():
                        numbers = torch.randn(shape, generator=generator) * size**0.5 * 0.3
                        tensors[f"{part}.{layer}.{matrix}.weight"] = numbers
    return tensors
