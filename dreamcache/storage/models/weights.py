"""Weights of a model's component, without torch: which files a loader takes, and what their headers state.

    folder of a component -> WeightFiles (one file, or shards by an index; full, or the variant fp16) -> tensors by name

A header is believed only where it agrees with itself and with the size of its file. Reads no tensor.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamcache.core.errors import ModelError
from dreamcache.storage.models.files import as_bad_model, read_json, regular_file

MAX_HEADER_BYTES = 100_000_000
"""As the safetensors library has it."""

VARIANT = "fp16"
"""Taken where there are no full weights."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
_SHARD = re.compile(r"[\w.-]+\.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFiles:
    """What a loader takes of a component. files: by name in its folder; variant: None for full weights."""

    files: tuple[str, ...]
    variant: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """A tensor as a header states it."""

    dtype: str
    shape: tuple[int, ...]


def weight_files(folder: Path) -> WeightFiles:
    """The files that diffusers or transformers load of a component's folder: full weights before the variant fp16.

    Raises ModelError where there are none, pickled ones (.bin) included: nothing is ever unpickled.
    """
    stem, index_first = _kind_of(folder)
    for variant in (None, VARIANT):
        single, *indexes = _names(stem, variant)
        names = [*indexes, single] if index_first else [single, *indexes]
        for name in names:
            if regular_file(folder, name) is not None:
                files = (name,) if name == single else _shards(folder, name)
                return WeightFiles(files=files, variant=variant)
    pickled = sorted(
        path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".ckpt", ".pth", ".msgpack")
    )
    hint = f", only {pickled[0][:80]}, which is never loaded" if pickled else ""
    raise ModelError(
        f"{folder}: must hold {stem}.safetensors or {stem}.{VARIANT}.safetensors, there is none{hint}; save the model "
        f"with safe_serialization"
    )


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file by name. Raises ModelError for a header that does not fit its file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0]
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"the header states {length} bytes of its own, the file has {size}")
            header = json.loads(file.read(length))
        tensors, end = _checked(header)
        if end + 8 + length != size:
            raise ValueError(
                f"{end + 8 + length} bytes are stated, the file has {size}: it was not copied whole"
            )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{path}: must be a whole safetensors file, its header cannot be read: {reason}; copy it again"
        ) from error
    return tensors


def read_tensors(folder: Path, weights: WeightFiles) -> dict[str, TensorInfo]:
    """The tensors of all files of a component. Raises ModelError."""
    tensors: dict[str, TensorInfo] = {}
    for name in weights.files:
        tensors |= read_header(folder / name)
    return tensors


def _kind_of(folder: Path) -> tuple[str, bool]:
    """(name of the weights without its suffix, whether an index counts before a single file).

    diffusers' configs name their class, those of transformers a model type.
    """
    config = read_json(folder / "config.json")
    if "_class_name" in config:
        return "diffusion_pytorch_model", True
    return "model", False


def _names(stem: str, variant: str | None) -> tuple[str, ...]:
    """The single file, then the indexes, as the libraries call them."""
    if variant is None:
        return f"{stem}.safetensors", f"{stem}.safetensors.index.json"
    names = [f"{stem}.{variant}.safetensors", f"{stem}.safetensors.index.{variant}.json"]
    if stem == "diffusion_pytorch_model":
        names.append(f"{stem}.safetensors.{variant}.index.json")  # of older releases of diffusers
    return tuple(names)


def _shards(folder: Path, index: str) -> tuple[str, ...]:
    with as_bad_model(f"{folder / index}: weight_map"):
        named = read_json(folder / index)["weight_map"].values()
        shards = sorted({name for name in named if isinstance(name, str)})
        if not shards or len(shards) > 10_000:
            raise ValueError("names of shards")
    for name in shards:
        if not _SHARD.fullmatch(name):
            raise ModelError(
                f"{folder / index}: shards must be files beside it, got '{name[:80]}'; copy the model again"
            )
        if regular_file(folder, name) is None:
            raise ModelError(f"{folder}: {name} is missing, {index} names it; copy it there")
    return tuple(shards)


def _checked(header: Mapping[str, Any]) -> tuple[dict[str, TensorInfo], int]:
    """(tensors, bytes of data that they take). ValueError where they do not lie one behind the other."""
    tensors, spans = {}, []
    for name, value in header.items():
        if name == "__metadata__":
            continue
        shape, (begin, end) = tuple(value["shape"]), value["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(f"tensor '{name[:80]}' has no numbers for its shape or place")
        if end - begin != math.prod(shape) * BITS[value["dtype"]] // 8:
            raise ValueError(f"tensor '{name[:80]}' has {end - begin} bytes, its shape needs others")
        tensors[name] = TensorInfo(dtype=value["dtype"], shape=shape)
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise ValueError("its tensors do not lie one behind the other")
        position = end
    return tensors, position
