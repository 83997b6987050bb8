"""Tiny models of the real classes, with random weights: a Stable Diffusion folder that loads in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import save_adapter
from dreamcache.model.places import default_places, place_shapes
from dreamcache.storage.models.base import describe_base

TEXT_WIDTH = 32


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer that spells every word in letters."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=77
    )


def make_unet(*, random_norms: bool = False, **changes: Any) -> UNet2DConditionModel:
    """The layout of SD 1.x / 2.x (four levels, nine decoder transformers), 32-64 channels wide.

    random_norms: with layer norms of weights other than 1 and biases other than 0, as trained ones have, so that
    LN(LN(x)) is not LN(x).
    """
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (32, 64, 64, 64),
        "layers_per_block": 2,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": (4, 8, 8, 8),
        "use_linear_projection": True,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    }
    unet = UNet2DConditionModel(**{**config, **changes}).eval()
    return randomize_norms(unet) if random_norms else unet


def randomize_norms(model: Any) -> Any:
    """The model with weights and biases of its own in every layer norm."""
    generator = torch.Generator().manual_seed(9)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            for parameter in (module.weight, module.bias):
                parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return model


def save_base(folder: Path, *, prediction_type: str = "epsilon", random_norms: bool = False) -> Path:
    """Writes a Stable Diffusion folder, 128 px (f = 8)."""
    unet = make_unet(random_norms=random_norms)
    torch.manual_seed(1)
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
    )
    tokenizer = make_tokenizer(folder / "tokenizer")
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=TEXT_WIDTH,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_random_adapter(folder: Path, base: Path, *, random_norms: bool = False) -> Path:
    """An adapter with a join far from the identity, so that the image condition shows."""
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    adapter = DreamCacheAdapter(place_shapes(unet, default_places(unet)))
    torch.manual_seed(2)
    for parameter in adapter.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    if random_norms:
        randomize_norms(adapter)
    save_adapter(adapter, str(folder), base=describe_base(str(base)), step=7)
    return folder
