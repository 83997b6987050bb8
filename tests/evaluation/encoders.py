"""Tiny CLIP, DINO and DINOv2 folders of the real classes, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from tests.tiny import make_tokenizer

SIZE = 32
WIDTH = 32


def save_clip(folder: Path) -> Path:
    """A CLIPModel with tokenizer and processor; 32 px, patches of 8."""
    tokenizer = make_tokenizer(folder)
    tokenizer.save_pretrained(folder)
    half = {
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text = {
        **half,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(3)
    CLIPModel(
        CLIPConfig(
            text_config=text, vision_config={**half, "image_size": SIZE, "patch_size": 8}, projection_dim=16
        )
    ).save_pretrained(folder)
    side = {"height": SIZE, "width": SIZE}
    CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=side).save_pretrained(folder)
    return folder


def save_dino(folder: Path) -> Path:
    """A ViTModel, as DINO is."""
    torch.manual_seed(4)
    config = ViTConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path) -> Path:
    """A Dinov2Model."""
    torch.manual_seed(5)
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, image_size=SIZE, patch_size=8
    )
    Dinov2Model(config).save_pretrained(folder)
    side = {"height": SIZE, "width": SIZE}
    BitImageProcessor(size={"shortest_edge": SIZE}, crop_size=side).save_pretrained(folder)
    return folder
