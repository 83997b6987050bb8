"""A base whose weights are held in fewer bits, without torch: its identity, the package that does it, and its bytes.

Fewer bits are other pixels, so the base is another one: cache keys and item ids differ. Loads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec

from dreamcache.core import ids
from dreamcache.core.config import Quantize
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.base import BaseInfo

PACKAGES: Mapping[Quantize, str] = {"int8": "torchao", "nf4": "bitsandbytes"}
WEIGHT_BYTES: Mapping[Quantize, float] = {"int8": 1.0, "nf4": 0.5625}
"""Of one weight of a linear layer; nf4 has a float32 scale for 64 of them."""


def with_quantize(base: BaseInfo, quantize: Quantize) -> BaseInfo:
    """The base with its linear layers in so few bits. Raises ModelError where the package for it is missing."""
    if quantize == "none":
        return base
    package = PACKAGES[quantize]
    if find_spec(package) is None:
        raise ModelError(
            f"model.quantize: {quantize} needs the package {package}, which is not installed; "
            "pip install 'dreamcache[quantize]'"
        )
    return replace(
        base,
        fingerprint=ids.of_values("base-quantized", base=base.fingerprint, quantize=quantize),
        plain_fingerprint=base.plain_fingerprint or base.fingerprint,
        quantize=quantize,
    )
