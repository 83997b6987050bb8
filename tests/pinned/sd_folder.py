"""A Stable Diffusion folder and an adapter of fixed bytes: enough to plan with, no weights to run.

The planner reads configs and hashes files; so ids made of these are the same on every machine and torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

PLACES = ["mid_block.attentions.0", "up_blocks.1.attentions.0"]
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
    "unet/config.json": UNET,
    "vae/config.json": {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512]},
    "text_encoder/config.json": {"_class_name": "CLIPTextModel", "hidden_size": 1024},
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


def write_base(folder: Path) -> Path:
    """Configs of SD 2.1's layout, and one small weights file a model."""
    for name, config in CONFIGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(config, sort_keys=True))
    for part in ("unet", "vae", "text_encoder"):
        save_file({part: np.arange(4, dtype=np.float32)}, folder / part / "model.safetensors")
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps({"a</w>": 0, "<|endoftext|>": 1}))
    return folder


def write_adapter(folder: Path, base: Path) -> Path:
    """An adapter whose config names the base."""
    from dreamcache.storage.models.base import describe_base

    folder.mkdir(parents=True, exist_ok=True)
    info = describe_base(str(base))
    config = {
        "format": 1,
        "base": {"name": "sd", "fingerprint": info.fingerprint},
        "places": PLACES,
        "integration": "spatial_concat",
        "features": "own",
        "step": 7,
    }
    (folder / "config.json").write_text(json.dumps(config, sort_keys=True))
    save_file({"adapter": np.arange(4, dtype=np.float32)}, folder / "adapter.safetensors")
    return folder
