"""A Stable Diffusion folder and an adapter of fixed bytes: enough to plan with, no weights to run.

The planner reads configs and hashes files; so ids made of these are the same on every machine and torch.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.header_base import write_header_base

PLACES = ["mid_block.attentions.0", "up_blocks.1.attentions.0"]


def write_base(folder: Path) -> Path:
    """SD 2.1's layout."""
    return write_header_base(folder)


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
