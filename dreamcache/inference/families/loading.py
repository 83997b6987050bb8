"""Loading a diffusers pipeline whole, from safetensors alone, once a node. Knows diffusers; knows no family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from diffusers import DiffusionPipeline

from dreamcache.core.config import Offload
from dreamcache.core.errors import ModelError
from dreamcache.model.base import check_whole, first_line, keep_rows_independent
from dreamcache.model.memory import place, quantization
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.node_cache import once_per_node

P = TypeVar("P", bound=DiffusionPipeline)


def load_pipeline(
    kind: type[P],
    info: BaseInfo,
    *,
    weighted: Sequence[str],
    quantized: Sequence[str] = (),
    dtype: torch.dtype,
    device: str,
    offload: Offload = "none",
    further: Callable[[str], JsonObject] = lambda folder: {},
) -> P:
    """weighted: parts with weights. quantized: those of them that the base's `quantize` is for.
    further: parts of the model's folder that are opened otherwise.

    Raises ModelError.
    """

    try:
        folder = _folder(kind, info)
        fewer_bits = quantization(quantized, info.quantize, dtype)
        pipe: P = kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, **fewer_bits, **further(folder)
        )
        for name in weighted:
            check_whole(name, getattr(pipe, name))
    except ModelError:
        raise
    except Exception as error:  # loaders raise types of their own for files that do not fit
        raise ModelError(
            f"model '{info.name}': cannot be loaded as a {kind.__name__} from safetensors: {first_line(error)}"
        ) from error
    pipe.set_progress_bar_config(disable=True)
    for name in weighted:
        getattr(pipe, name).requires_grad_(False).eval()
    keep_rows_independent(pipe.vae)
    place(pipe, device, offload)
    return pipe


def _folder(kind: type[DiffusionPipeline], info: BaseInfo) -> str:
    """On this machine, downloaded by one process for all where it must be."""
    if info.revision is None:
        return info.location

    def download() -> str:
        return str(kind.download(info.location, revision=info.revision, use_safetensors=True))

    return once_per_node(f"{info.location}@{info.revision}", download)
