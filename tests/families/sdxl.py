"""A tiny SDXL of the real classes with random weights that react to every input: saved in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from dreamcache import DreamCachePipeline
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import save_adapter
from dreamcache.model.places import default_places, place_shapes
from tests.tiny import make_tokenizer, randomize_norms

DEPTHS = (1, 2, 10)
"""Transformer blocks of a level, as SDXL has them; its first level has none at all."""
WIDTHS = (16, 24)
"""Of the text encoders."""
SIDE = 64
TOLERANCE = 1e-4
LONG = (pytest.mark.slow, pytest.mark.turns(unit="module"))
PROMPT, SCALE, STEPS = "a red mug", 5.0, 2
Pixels = NDArray[np.float32]
REACTION, TEXT_REACTION = 1.5, 2.0
"""On the matrices that read text, time and sizes, and on the text encoders': as they are initialised, a wrong input
would hardly move a pixel; with 8 for the text encoders, rounding moves as much as an input does."""


def make_unet(**changes: Any) -> UNet2DConditionModel:
    """SDXL's module graph, 16 to 64 channels wide; weights are scaled until every input shows."""
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": SIDE // 4,
        "block_out_channels": (16, 32, 64),
        "norm_num_groups": 8,
        "layers_per_block": 2,
        "transformer_layers_per_block": DEPTHS,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (2, 4, 8),
        "cross_attention_dim": sum(WIDTHS),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTHS[1],
    }
    unet = UNet2DConditionModel(**{**config, **changes}).eval()
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            inputs = (".attn2.", "time_embedding", "add_embedding", "time_emb_proj")
            if weight.ndim == 2 and any(part in name for part in inputs):
                weight.mul_(REACTION)
    return randomize_norms(unet)


def make_text(tokens: int, width: int, kind: Any, layers: int) -> Any:
    """A CLIP text model whose layers change what they read."""
    torch.manual_seed(width)
    model = kind(
        CLIPTextConfig(
            vocab_size=tokens, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=4, max_position_embeddings=77, projection_dim=width, eos_token_id=tokens - 1,
        )
    )  # fmt: skip
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(TEXT_REACTION)
    return randomize_norms(model.eval())


def save_sdxl(folder: Path, *, prediction_type: str = "epsilon", **changes: Any) -> Path:
    """The pipeline in the diffusers layout, 64 px (f = 4). changes: of the U-Net's config."""
    tokenizers = [make_tokenizer(folder / name) for name in ("tokenizer", "tokenizer_2")]
    tokenizers[1].pad_token = "!"  # as published: the second pads with another token than the first
    torch.manual_seed(1)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3, layers_per_block=1,
        up_block_types=("UpDecoderBlock2D",) * 3, norm_num_groups=4, latent_channels=4, scaling_factor=0.13025,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        timestep_spacing="leading", prediction_type=prediction_type,
    )  # fmt: skip
    StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=make_text(len(tokenizers[0]), WIDTHS[0], CLIPTextModel, 2),
        text_encoder_2=make_text(len(tokenizers[1]), WIDTHS[1], CLIPTextModelWithProjection, 3),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=make_unet(**changes),
        scheduler=scheduler,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def save_random_adapter(folder: Path, base: Path) -> Path:
    """An adapter with a join far from the identity, so that the reference shows."""
    from dreamcache.inference.families.sdxl.describe import FAMILY

    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    adapter = DreamCacheAdapter(place_shapes(unet, default_places(unet)))
    torch.manual_seed(2)
    for parameter in adapter.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    save_adapter(randomize_norms(adapter), str(folder), base=FAMILY.describe_base(str(base), None), step=7)
    return folder


def ours(pipe: DreamCachePipeline, subject: Any = None, **settings: Any) -> Pixels:
    values: dict[str, Any] = {"prompt": PROMPT, "text_scale": SCALE, "num_inference_steps": STEPS, **settings}
    generator = torch.Generator().manual_seed(7)
    return np.asarray(pipe(subject=subject, generator=generator, output_type="np", **values).images)


def theirs(pipe: DreamCachePipeline, **settings: Any) -> Pixels:
    values = {"prompt": PROMPT, "guidance_scale": SCALE, "num_inference_steps": STEPS, **settings}
    generator = torch.Generator().manual_seed(7)
    return np.asarray(pipe.base(generator=generator, output_type="np", **values).images)


def distance(one: Pixels, two: Pixels) -> float:
    return float(np.abs(one - two).max())
