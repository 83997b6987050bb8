"""A base model's fingerprint: every byte that decides its output is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamcache.storage.models.base import describe_base

FILES = (
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "scheduler/scheduler_config.json",
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder in the diffusers layout whose weights nobody loads."""
    configs = {
        "unet/config.json": {"sample_size": 16},
        "vae/config.json": {"block_out_channels": [1, 1, 1, 1]},
        "scheduler/scheduler_config.json": {"prediction_type": "epsilon"},
    }
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"content of {name}".encode())
    for name, config in configs.items():
        (tmp_path / name).write_text(json.dumps(config) + " ")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_one_byte_changed_in_one_file_is_another_base(base: Path, name: str) -> None:
    before = describe_base(str(base)).fingerprint
    assert describe_base(str(base)).fingerprint == before
    data = bytearray((base / name).read_bytes())
    data[-1] ^= 0b101010  # a space becomes a line feed, so that JSON stays JSON
    (base / name).write_bytes(data)
    assert describe_base(str(base)).fingerprint != before


def test_files_that_decide_nothing_change_nothing(base: Path) -> None:
    before = describe_base(str(base)).fingerprint
    for name in ("unet/README.md", "unet/.cache.json", "notes.txt"):
        (base / name).write_text("other")
    assert describe_base(str(base)).fingerprint == before
