"""A tiny FLUX.2 klein of the real classes with random weights that react to their reference: saved in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinKVPipeline,
    Flux2Transformer2DModel,
)
from PIL import Image
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

REACTION = 3.0
"""On the transformer's matrices: as they are initialised, a wrong reference would hardly move a pixel."""
TEXT_LAYERS = 28
"""The pipeline reads the layers 9, 18 and 27."""
SIDE = 32
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> Qwen2TokenizerFast:
    """Spells every text in bytes."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*bytes_to_unicode().values(), *special]
    tokenizer = Qwen2TokenizerFast(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        pad_token=special[0],
        additional_special_tokens=special,
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def make_klein() -> Flux2KleinKVPipeline:
    """Two double and three single blocks, 32 channels wide, 32 px."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    text = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=512,
        )
    )  # fmt: skip
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=3, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, sample_size=SIDE,
    )  # fmt: skip
    with torch.no_grad():
        for weight in transformer.parameters():
            if weight.ndim == 2:
                weight.mul_(REACTION)
    vae.bn.running_mean.normal_(0, 0.3)
    vae.bn.running_var.uniform_(0.5, 2.0)
    pipe = Flux2KleinKVPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae.eval(),
        text_encoder=text.eval(),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_klein(folder: Path) -> Path:
    """The pipeline in the diffusers layout."""
    make_klein().save_pretrained(folder)
    return folder


def photo(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)
