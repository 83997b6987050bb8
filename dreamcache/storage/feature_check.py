"""Whether stored features are those that were asked for.

    StoredFeatures, Expected --check--> nothing, or CacheError: what differs

Another subject's features under the right key, NaN, or a place that is missing would each spoil a product's images in
every job that shares the cache. Knows settings and numbers; knows no models, and nothing of where files lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import CacheError
from dreamcache.storage import packed
from dreamcache.storage.stored_features import RawTensor, StoredFeatures

OVERHEAD = 1 << 20
"""Bytes of a file besides its numbers: names, shapes, settings."""
_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000}
"""Bits of the exponent; all of them set mean infinity or NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a job asks for. shapes: [C, h, w] of each place, None where they are not known.

    most: where the photo decides h and w: (C, the most that h x w may be) of each place.
    """

    reference_id: str
    settings: EncodeSettings
    shapes: Mapping[str, tuple[int, ...]] | None = None
    most: Mapping[str, tuple[int, int]] | None = None

    @property
    def num_bytes(self) -> int | None:
        """What the features may have at most, packed or unpacked; None where shapes are not known."""
        known = self.shapes or self.most
        if known is None:
            return None
        if self.form in packed.FORMS:
            sizes = (packed.most_bytes(self.form, shape[0], prod(shape[1:])) for shape in known.values())
            return OVERHEAD + sum(sizes)
        numbers = sum(prod(shape) for shape in known.values())
        return OVERHEAD + numbers * (4 if self.settings.dtype == "float32" else 2)

    @property
    def form(self) -> str:
        """The dtype of each map, as `RawTensor` has it."""
        return form_of(self.settings)

    def fits(self, place: str, shape: tuple[int, ...]) -> bool:
        """Whether features of this place may have this shape."""
        if len(shape) != 3:
            return False
        if self.most is not None:
            channels, positions = self.most[place]
            return shape[0] == channels and 0 < shape[1] * shape[2] <= positions
        return self.shapes is None or shape == self.shapes[place]

    def rule_of(self, place: str) -> str:
        """What `fits` asks for, with the dtype."""
        if self.most is not None:
            channels, positions = self.most[place]
            return f"{self.form} [{channels}, h, w] of 1 to {positions} positions"
        shape = "[C, h, w]" if self.shapes is None else list(self.shapes[place])
        return f"{self.form} {shape}"


def form_of(settings: EncodeSettings) -> str:
    """The dtype that these settings, resolved, give the maps of a file."""
    return settings.dtype + (packed.GROUND if settings.ground_vectors else "")


def check(features: StoredFeatures, expected: Expected, where: str) -> None:
    """Raises CacheError that begins with `where` and names what differs."""
    wanted, settings = _as_json(expected.settings.as_dict()), _as_json(features.settings)
    if features.reference_id != expected.reference_id:
        _refuse(where, f"reference must be {expected.reference_id[:16]}, got {features.reference_id[:16]}")
    if settings != wanted:
        names = {name for name in wanted if settings.get(name) != wanted[name]} | set(settings) - set(wanted)
        _refuse(where, f"settings must be those of the job, {', '.join(sorted(names))[:200]} differ")
    if tuple(features.maps) != tuple(expected.settings.places):
        got = ", ".join(features.maps) or "none"
        _refuse(where, f"places must be {', '.join(expected.settings.places)}, got {got[:300]}")
    for place, raw in features.maps.items():
        if raw.dtype != expected.form or not expected.fits(place, raw.shape):
            rule = expected.rule_of(place)
            _refuse(where, f"place {place} must be {rule}, got {raw.dtype} {list(raw.shape)}")
    check_finite(features, where)


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they are read back from a file: tuples are lists."""
    value = json.loads(ids.canonical_json(dict(settings)))
    return value if isinstance(value, dict) else {}


def check_finite(features: StoredFeatures, where: str) -> None:
    """Raises CacheError where a number is NaN or infinite."""
    for place, raw in features.maps.items():
        if not _is_finite(raw):
            _refuse(where, f"place {place} must hold finite numbers, holds NaN or infinity")


def _is_finite(raw: RawTensor) -> bool:
    if raw.dtype in packed.FORMS:
        return packed.is_finite(raw.data, raw.dtype, raw.shape)
    number = np.uint32 if raw.dtype == "float32" else np.uint16
    bits: NDArray[np.unsignedinteger[Any]] = np.frombuffer(raw.data, dtype=number)
    mask = number(_EXPONENTS[raw.dtype])
    return not bool(((bits & mask) == mask).any())


def _refuse(where: str, difference: str) -> None:
    raise CacheError(f"{where}: {difference}; the reference must be encoded again")
