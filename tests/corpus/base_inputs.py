"""Ways to damage a good base model's folder in place, each as an input of the corpus."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from tests.corpus.kind import Write

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
JSON_FILES = (
    "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
    "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json",
)  # fmt: skip


def change(name: str, **values: Any) -> Write:
    """Keys of a JSON file set to other values; ... removes one."""

    def write(folder: Path) -> str:
        file = folder / name
        merged = {**json.loads(file.read_text()), **values}
        file.write_text(json.dumps({key: value for key, value in merged.items() if value is not ...}))
        return name

    return write


def replaced(name: str, data: bytes) -> Write:
    """Other bytes in a file."""

    def write(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return name

    return write


def cut(name: str, share: float) -> Write:
    """Only the first part of a file."""

    def write(folder: Path) -> str:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(share * len(data))])
        return name

    return write


def removed(*names: str) -> Write:
    """Files or folders that are not there."""

    def write(folder: Path) -> str:
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return names[0]

    return write


def a_file_instead(name: str) -> Write:
    """A file where a folder should be."""

    def write(folder: Path) -> str:
        shutil.rmtree(folder / name)
        (folder / name).write_text("x")
        return name

    return write


def header(name: str, edit: Callable[[dict[str, Any]], object]) -> Write:
    """A safetensors file whose header states other things; its data stay."""

    def write(folder: Path) -> str:
        data = (folder / name).read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        stated = json.loads(data[8 : 8 + length])
        edit(stated)
        text = json.dumps(stated).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
        return name

    return write


def of_first(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    """Sets a key of the first tensor that a header states."""
    return lambda stated: stated[min(set(stated) - {"__metadata__"})].update({key: value})


def stated_length(name: str, length: int) -> Write:
    """Another length of the header than it has."""

    def write(folder: Path) -> str:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(struct.pack("<Q", length) + data[8:])
        return name

    return write


def flipped(name: str, position: int) -> Write:
    """One bit in the header is another."""

    def write(folder: Path) -> str:
        data = bytearray((folder / name).read_bytes())
        data[position] ^= 0x40
        (folder / name).write_bytes(data)
        return name

    return write


def without(name: str, *parts: str) -> Write:
    """Weights without the tensors in whose name one of `parts` occurs."""

    def write(folder: Path) -> str:
        tensors = load_file(folder / name)
        kept = {key: value for key, value in tensors.items() if not any(part in key for part in parts)}
        assert len(kept) < len(tensors)
        save_file(kept, folder / name)
        return name

    return write


def swapped(one: str, other: str) -> Write:
    """Another component's weights."""

    def write(folder: Path) -> str:
        shutil.copy(folder / other, folder / one)
        return one

    return write


def renamed(suffix: str, *names: str) -> Write:
    """Weights under another suffix."""

    def write(folder: Path) -> str:
        for name in names:
            file = folder / name
            file.rename(file.with_name(file.name.replace(".safetensors", suffix)))
        return names[0]

    return write


def link(name: str, target: str) -> Write:
    """A link in a file's place; {outside} is a folder beside the base with good copies of its files."""

    def write(folder: Path) -> str:
        outside = folder.parent / f"{folder.name}-outside"
        outside.mkdir(exist_ok=True)
        shutil.copy(folder / name, outside / Path(name).name)
        (folder / name).unlink()
        (folder / name).symlink_to(target.format(outside=outside, name=Path(name).name))
        return name

    return write


def pipe(name: str) -> Write:
    """A named pipe, on which a reader waits forever."""

    def write(folder: Path) -> str:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        return name

    return write


def beside(name: str, data: bytes = b"x") -> Write:
    """A further file that no loader takes."""

    def write(folder: Path) -> str:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(data)
        return name

    return write


def shards(name: str, shard: str, index: str, weight_map: Any = None) -> Write:
    """Weights as one shard with an index instead of one file. weight_map: instead of the true one."""

    def write(folder: Path) -> str:
        part, tensors = (folder / name).parent, load_file(folder / name)
        (folder / name).rename(part / shard)
        stated = dict.fromkeys(tensors, shard) if weight_map is None else weight_map
        (part / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": stated}))
        return name

    return write


UNET_INDEX = "diffusion_pytorch_model.safetensors.index.json"
UNET_SHARD = "diffusion_pytorch_model-00001-of-00001.safetensors"


def bad_index(weight_map: Any) -> Write:
    return shards(UNET, UNET_SHARD, UNET_INDEX, weight_map)
