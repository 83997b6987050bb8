"""LoRAs on a base model, read without torch: which file each is, that it is one, and the base's identity with them.

    model.loras --describe_lora--> LoraInfo (file on this machine, sha256, weight) --with_loras--> BaseInfo

A LoRA comes from outside: one regular safetensors file of bounded size whose header fits it; nothing is ever unpickled.
Loads no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.core.locations import FILE_SCHEME, is_object
from dreamcache.storage.models.base import BaseInfo, LoraInfo
from dreamcache.storage.models.files import file_hash, regular_file
from dreamcache.storage.models.weights import read_header
from dreamcache.storage.node_cache import once_per_node

USUAL_NAME = "pytorch_lora_weights.safetensors"
"""In a folder, as diffusers writes it."""
SUFFIX = ".safetensors"
MAX_LORA_BYTES = 4 * 1024**3
MAX_TENSORS = 50_000


def describe_lora(path: str, weight: float) -> LoraInfo:
    """Finds a LoRA: a safetensors file or a folder with one, local or in a store of objects. Raises ModelError."""
    file = _fetched(path) if is_object(path) else _local(path)
    _check_size(path, file.stat().st_size)
    tensors = read_header(file)
    matrices = [name for name in tensors if "lora" in name.lower()]
    if not matrices or len(tensors) > MAX_TENSORS:
        raise ModelError(
            f"model.loras '{path}': must hold 1 to {MAX_TENSORS:,} tensors of a LoRA, has {len(matrices):,} of "
            f"{len(tensors):,}; name the LoRA's own file"
        )
    name = path.rstrip("/").rpartition("/")[2]
    return LoraInfo(name=name, location=str(file), sha256=file_hash(file), weight=weight)


def with_loras(base: BaseInfo, loras: Sequence[tuple[str, float]]) -> BaseInfo:
    """The base as these LoRAs, (path, weight) in this order, change it: an identity of its own.

    Raises ModelError for one that is none, and where the package peft is missing, with which diffusers loads them.
    """
    if not loras:
        return base
    if find_spec("peft") is None:
        raise ModelError(
            "model.loras: needs the package peft, which is not installed; pip install 'dreamcache[loras]'"
        )
    infos = tuple(describe_lora(path, weight) for path, weight in loras)
    content = [{"sha256": info.sha256, "weight": float(info.weight)} for info in infos]
    return replace(
        base,
        fingerprint=ids.of_values("base-with-loras", base=base.fingerprint, loras=content),
        plain_fingerprint=base.fingerprint,
        loras=infos,
    )


def _local(path: str) -> Path:
    where = Path(path.removeprefix(FILE_SCHEME)).expanduser()
    try:
        if where.is_dir():
            names = sorted(one.name for one in where.glob(f"*{SUFFIX}"))
            name = USUAL_NAME if USUAL_NAME in names else names[0] if len(names) == 1 else None
            got = f"a folder with {len(names)} of them" if names else "a folder without one"
            file = regular_file(where, name) if name is not None else None
        else:
            got = "nothing there" if not where.exists() else f"'{where.name}'"
            file = regular_file(where.parent, where.name) if where.suffix == SUFFIX else None
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"model.loras '{path}': cannot be read: {error}; check the path") from error
    if file is None:
        raise ModelError(
            f"model.loras '{path}': must be a {SUFFIX} file or a folder with one, got {got}; name the file itself, and "
            f"convert others to safetensors"
        )
    return file


def _fetched(uri: str) -> Path:
    from dreamcache.storage.open_store import join, store_for

    store = store_for(uri)
    file = uri if uri.endswith(SUFFIX) else join(uri, USUAL_NAME)
    info = store.stat(file)
    if info is None:
        raise ModelError(f"model.loras '{uri}': there is no {file}; check the URI")
    _check_size(uri, info.num_bytes)

    def fetch() -> str:
        data = store.read(file)
        folder = Path("~/.cache/dreamcache/loras").expanduser() / ids.of_bytes(data)[:32]
        store_for(str(folder)).create(str(folder / USUAL_NAME), data)
        return str(folder)

    return Path(once_per_node(f"{file} {info.etag}", fetch)) / USUAL_NAME


def _check_size(path: str, size: int) -> None:
    if size > MAX_LORA_BYTES:
        raise ModelError(
            f"model.loras '{path}': must have at most {MAX_LORA_BYTES:,} bytes, has {size:,}; a LoRA is far smaller, "
            f"name its own file"
        )
