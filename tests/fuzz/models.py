"""Adapters and base models on disk: their JSON and their weights, as a careless copy may leave them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import torch

from dreamcache.model.adapter_io import import_published, load_adapter
from dreamcache.storage.models.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, describe_adapter
from dreamcache.storage.models.base import describe_base
from tests.fuzz.target import Read, Target, only_our_errors
from tests.tiny import make_unet, save_base, save_random_adapter

BASE_FILES = ("model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")
WORDS = (
    "null",
    "-1",
    "1e999",
    "NaN",
    "[]",
    "{}",
    '""',
    "[[[[[[[[[[",
    "fingerprint",
    "places",
    "recommended",
    "training",
)


def _adapter(folder: Path) -> Path:
    return save_random_adapter(folder / "adapter", save_base(folder / "base"))


def _weights(folder: Path) -> bytes:
    return (_adapter(folder) / ADAPTER_WEIGHTS).read_bytes()


def _adapter_reader(name: str) -> Callable[[Path], Read]:
    """One file of a good adapter is replaced."""

    def reader(folder: Path) -> Read:
        adapter = _adapter(folder)
        base, unet = describe_base(str(folder / "base")), make_unet()

        def read(data: bytes) -> None:
            (adapter / name).write_bytes(data)
            with only_our_errors():
                load_adapter(describe_adapter(str(adapter), base), unet)

        return read

    return reader


def _base_reader(folder: Path) -> Read:
    """One JSON file of a good base is replaced: the first byte says which."""
    base = save_base(folder / "base")
    good = {name: (base / name).read_bytes() for name in BASE_FILES}

    def read(data: bytes) -> None:
        name = BASE_FILES[data[0] % len(BASE_FILES)] if data else BASE_FILES[0]
        (base / name).write_bytes(data[1:])
        with only_our_errors():
            describe_base(str(base))
        (base / name).write_bytes(good[name])

    return read


def _base_seeds(folder: Path) -> list[bytes]:
    base = save_base(folder / "base")
    return [bytes([number]) + (base / name).read_bytes() for number, name in enumerate(BASE_FILES)]


def _checkpoints(folder: Path) -> list[bytes]:
    out = io.BytesIO()
    torch.save(
        {"diffusion_model.middle_block.1.transformer_blocks.0.attn_mem.to_q.weight": torch.zeros(2, 2)}, out
    )
    return [out.getvalue()]


def _checkpoint_reader(folder: Path) -> Read:
    path, unet = folder / "cross_attention-1.pt", make_unet()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        with only_our_errors():
            import_published(path, unet)

    return read


TARGETS = [
    Target(
        name="adapter-config",
        seeds=lambda folder: [(_adapter(folder) / ADAPTER_CONFIG).read_bytes()],
        reader=_adapter_reader(ADAPTER_CONFIG),
        words=WORDS,
    ),
    Target(
        name="adapter-weights",
        seeds=lambda folder: [_weights(folder)],
        reader=_adapter_reader(ADAPTER_WEIGHTS),
        max_bytes=1 << 20,
    ),
    Target(name="base-config", seeds=_base_seeds, reader=_base_reader, words=WORDS),
    Target(name="published-checkpoint", seeds=_checkpoints, reader=_checkpoint_reader),
]
