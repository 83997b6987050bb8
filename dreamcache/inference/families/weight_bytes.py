"""Bytes of a model's weights on the device, by its files' headers: with fewer bits, and with weights that stay off it.

An ESTIMATE: in fewer bits every weight of a quantized part counts as one of a linear layer. Loads no weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core.config import Offload
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.quantized import WEIGHT_BYTES
from dreamcache.storage.models.weights import read_header, weight_files

LAYERS_AT_ONCE = 2
"""With sequential offload: the layer of a pass, and the one before it that is not yet gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Of one part of a model. numbers: parameters; largest: those of its largest tensor."""

    numbers: int
    largest: int


def counted(base: BaseInfo, parts: Iterable[str]) -> dict[str, Counted]:
    """By part. Raises ModelError for weights that are not on this machine, and for damaged files."""
    if base.revision is not None:
        raise ModelError(
            f"model '{base.name}': its weights are not in a folder of this machine, so they are not counted"
        )
    folders = {part: Path(base.location) / part for part in parts}
    return {
        part: _counted(folder / name for name in weight_files(folder).files)
        for part, folder in folders.items()
    }


def on_device(
    parts: Mapping[str, Counted],
    base: BaseInfo,
    quantized: Sequence[str],
    widths: Mapping[str, int],
    offload: Offload,
) -> float:
    """Bytes of weights that are on the device at once.

    quantized: parts in the base's bits; widths: bytes of a number of the others.
    """
    bits = {part: WEIGHT_BYTES[base.quantize] for part in quantized if base.quantize != "none"}
    width = {part: bits.get(part, float(widths[part])) for part in parts}
    if offload == "model":
        return max(one.numbers * width[part] for part, one in parts.items())
    if offload == "sequential":
        return LAYERS_AT_ONCE * max(one.largest * width[part] for part, one in parts.items())
    return sum(one.numbers * width[part] for part, one in parts.items())


def _counted(files: Iterable[Path]) -> Counted:
    sizes = [math.prod(tensor.shape) for file in files for tensor in read_header(file).values()]
    return Counted(numbers=sum(sizes), largest=max(sizes, default=0))
