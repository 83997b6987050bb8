"""A model that can be planned with: the small files the planner reads, and no weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.storage.models.base import describe_base
from jobs.spec import parse_spec

CONFIGS: dict[str, Any] = {
    "unet/config.json": {"sample_size": 16},
    "vae/config.json": {"block_out_channels": [1, 1, 1, 1]},
    "text_encoder/config.json": {},
    "tokenizer/vocab.json": {},
    "scheduler/scheduler_config.json": {"prediction_type": "epsilon"},
}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def model(tmp_path: Path) -> dict[str, str]:
    """`model:` of a job file: a base of JSON files, and an adapter that fits it."""
    return write_model(tmp_path)


def write_model(folder: Path) -> dict[str, str]:
    """Writes what the fixture `model` gives."""
    base, adapter = folder / "base", folder / "adapter"
    for name, config in CONFIGS.items():
        write_json(base / name, config)
    origin = {"name": "tiny", "fingerprint": describe_base(str(base)).fingerprint}
    write_json(
        adapter / "config.json",
        {"format": 1, "base": origin, "places": ["up_blocks.1"], "integration": "spatial_concat", "step": 7},
    )
    (adapter / "adapter.safetensors").write_bytes(b"weights")
    return {"base": str(base), "adapter": str(adapter)}


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
