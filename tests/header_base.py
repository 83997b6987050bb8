"""A Stable Diffusion folder to plan with: true configs and the names of all tensors, each of one number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from dreamcache.storage.models.layout import text_encoder_names, unet_names, vae_names

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}
UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 64,
    "in_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "use_linear_projection": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "model_index.json": INDEX,
    "unet/config.json": UNET,
    "vae/config.json": {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
    },
    "text_encoder/config.json": {
        "model_type": "clip_text_model",
        "architectures": ["CLIPTextModel"],
        "hidden_size": 1024,
        "num_hidden_layers": 2,
        "max_position_embeddings": 77,
    },
    "tokenizer/tokenizer_config.json": {"model_max_length": 77},
    "scheduler/scheduler_config.json": {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
    },
}
WEIGHTS = {
    "unet/diffusion_pytorch_model.safetensors": unet_names,
    "vae/diffusion_pytorch_model.safetensors": vae_names,
    "text_encoder/model.safetensors": text_encoder_names,
}


def write_header_base(folder: Path, configs: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Writes the folder; the same bytes on every machine. configs: instead of those of CONFIGS, by file."""
    chosen = {**CONFIGS, **(configs or {})}
    for name, config in chosen.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(config, sort_keys=True))
    for name, names in WEIGHTS.items():
        config = chosen[f"{Path(name).parent}/config.json"]
        save_file({tensor: np.zeros(1, np.float32) for tensor in names(config)}, folder / name)
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    return folder
