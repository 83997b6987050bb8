"""The features of one reference as bytes by place, without the library that computed them.

Knows dtypes and shapes; knows no files and no models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from dreamcache.storage import packed

BYTES_PER_NUMBER = {"float16": 2, "bfloat16": 2, "float32": 4}
DTYPES = (*BYTES_PER_NUMBER, *packed.FORMS)


@dataclass(frozen=True, kw_only=True, slots=True)
class RawTensor:
    """A tensor's numbers without the library that computed them: row-major, little endian, or as in `packed`."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if any(side < 0 for side in self.shape):
            raise ValueError(f"shape must have no negative side, got {self.shape}")
        if self.dtype in packed.FORMS:
            packed.check(self.data, self.dtype, self.shape)
            return
        wanted = prod(self.shape) * BYTES_PER_NUMBER[self.dtype]
        if len(self.data) != wanted:
            raise ValueError(
                f"{self.dtype} of shape {self.shape} must have {wanted} bytes, got {len(self.data)}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFeatures:
    """The features of one reference by place, and what they were computed from.

    `settings` are JSON values: a tuple is read back as a list. segment_note: see `core.records.Done`.
    """

    cache_key: str
    reference_id: str
    base_fingerprint: str
    settings: dict[str, Any]
    maps: Mapping[str, RawTensor]
    segment_note: str | None = None
