"""A model that can be planned with: the small files the planner reads, and weights of one number a tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.storage.models.base import describe_base
from jobs.spec import parse_spec
from tests.header_base import write_header_base

CONFIGS: dict[str, Any] = {
    "unet/config.json": {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 16,
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
    },
    "vae/config.json": {"_class_name": "AutoencoderKL", "block_out_channels": [1, 1, 1, 1]},
    "text_encoder/config.json": {"num_hidden_layers": 1},
    "scheduler/scheduler_config.json": {"prediction_type": "epsilon"},
}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_model(folder: Path) -> dict[str, str]:
    """`model:` of a job file: a base of JSON files, and an adapter that fits it."""
    base, adapter = folder / "base", folder / "adapter"
    write_header_base(base, CONFIGS)
    origin = {"name": "tiny", "fingerprint": describe_base(str(base)).fingerprint}
    write_json(
        adapter / "config.json",
        {"format": 1, "base": origin, "places": ["up_blocks.1"], "integration": "spatial_concat", "step": 7},
    )
    (adapter / "adapter.safetensors").write_bytes(b"weights")
    return {"base": str(base), "adapter": str(adapter)}


@pytest.fixture
def model(tmp_path: Path) -> dict[str, str]:
    """See `write_model`."""
    return write_model(tmp_path)


@pytest.fixture
def make_spec(tmp_path: Path, model: dict[str, str]) -> Callable[..., JobSpec]:
    """make_spec(catalog, **changes) -> a job over this catalog's text, beside photos a.png and b.png."""

    def make(catalog: str = "subject_id,image\na,a.png\nb,b.png\n", **changes: Any) -> JobSpec:
        (tmp_path / "catalog.csv").write_text(catalog)
        for name in "ab":
            (tmp_path / f"{name}.png").write_bytes(f"photo {name}".encode())
        values = {
            "name": "job",
            "catalog": str(tmp_path / "catalog.csv"),
            "output": str(tmp_path / "output"),
            "prompts": ["a {class_name} on sand", "a {class_name} in snow"],
            "model": model,
        }
        return parse_spec({**values, **changes})

    return make
