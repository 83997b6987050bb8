"""What every worker of a job is told: one frozen value, sent once. Knows no torch and no Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dreamcache.core.config import DType, EncodeSettings, GenerationSettings, ImageFormat, ImageLimits
from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.records import Request

REQUEST_COLUMNS = tuple(Request.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContext:
    """Locations and settings. num_threads: torch threads of one worker."""

    output: str
    cache: str
    method: str
    base: str
    revision: str | None
    adapter: str | None
    base_fingerprint: str
    adapter_fingerprint: str
    dtype: DType
    reference: EncodeSettings
    generation: GenerationSettings
    noise: str
    quality: QualitySettings | None
    quality_identity: str | None
    images: ImageFormat
    limits: ImageLimits
    failures: FailurePolicy
    batch_size: int
    num_threads: int
    provenance: dict[str, str]


def request_of(row: dict[str, Any]) -> Request:
    """The request in a plan row."""
    return Request(**{name: row[name] for name in REQUEST_COLUMNS})
