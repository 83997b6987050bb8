"""Settings of a job: what is generated, with which model, by how many workers, within which limits.

Parsed from YAML by `jobs.spec`. Knows nothing of files, models or Ray.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from dreamcache.core.config import (
    FORBID_UNKNOWN,
    DType,
    EncodeSettings,
    GenerationSettings,
    ImageFormat,
    ImageLimits,
)
from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.config.quality import QualitySettings

Method = Literal["dreamcache", "ip-adapter", "blip-diffusion", "text-only"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """base: `mini`, a diffusers folder, or a hub id with `revision`. adapter: folder or s3:// URI."""

    base: str = "mini"
    revision: str | None = None
    adapter: str | None = None
    dtype: DType = "float32"

    __pydantic_config__ = FORBID_UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """What one group of workers is given by Ray; each number but the first two is one worker's share.

    count: of workers. max_count: if more than count, Ray adds workers up to it while work waits and the cluster
    has room, and takes them away when idle. gpus: may be a fraction. memory_bytes: set aside on the node, and the
    most that the process may allocate. accelerator_type: as Ray names it ("H100"). label_selector: node labels
    ({"market-type": "spot"}). resources: custom ones ({"tpu-host": 1}).
    """

    count: int = 1
    max_count: int | None = None
    cpus: float = 1
    gpus: float = 0
    memory_bytes: int | None = None
    accelerator_type: str | None = None
    label_selector: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.max_count is not None and self.max_count < self.count:
            raise ValueError(f"max_count must be at least count ({self.count}), got {self.max_count}")
        for name in ("cpus", "gpus", "memory_bytes"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkersSpec:
    """encoders and generators are actors that hold the model; batch_size is images per generator batch."""

    encoders: WorkerSpec = WorkerSpec(cpus=0.5)
    generators: WorkerSpec = WorkerSpec(cpus=1)
    publishers: WorkerSpec = WorkerSpec(count=4, cpus=0.25)
    batch_size: int = 8

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def cpus(self) -> float:
        """Without these nothing begins: both pools' at their start, and one publisher's."""
        pools = (self.encoders, self.generators)
        return sum(pool.count * pool.cpus for pool in pools) + self.publishers.cpus

    @property
    def gpus(self) -> float:
        return sum(pool.count * pool.gpus for pool in (self.encoders, self.generators))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(ImageLimits):
    """What a photo may be, and what the job may cost, over all its runs; beyond that, a run stops with exit code 4.

    max_items: items with a record. max_gpu_hours: declared GPUs of the workers x time they are up. max_hours: of
    making images, by the clock.
    """

    max_items: int | None = None
    max_gpu_hours: float | None = None
    max_hours: float | None = None

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        ImageLimits.__post_init__(self)
        for name in ("max_items", "max_gpu_hours", "max_hours"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be more than 0, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """A job: a catalog, prompts, a model, and where images go.

    catalog: CSV, JSONL or Parquet file, or a folder of images; a path or s3:// URI. columns maps our names to
    the catalog's own ({subject_id: sku}). class_name: for rows that have none. prompts: templates with
    {class_name}, {subject_id} and any catalog column; a row's own prompts come first. samples: images of every
    subject and prompt. seed: of the whole job. cache: shared by jobs; beside the output where not given.
    method: what generates the images (see `inference.families`). noise: every item's own, or the same for a subject,
    prompt and sample whatever the settings are ("scene"), to compare settings. quality: a gate that images must pass.
    """

    name: str
    catalog: str
    output: str
    prompts: tuple[str, ...] = ()
    samples: int = 1
    seed: int = 0
    class_name: str = "product"
    columns: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = None
    method: Method = "dreamcache"
    model: ModelSpec = ModelSpec()
    reference: EncodeSettings = EncodeSettings()
    generation: GenerationSettings = GenerationSettings()
    noise: Literal["item", "scene"] = "item"
    quality: QualitySettings | None = None
    images: ImageFormat = ImageFormat()
    limits: Limits = Limits()
    workers: WorkersSpec = WorkersSpec()
    failures: FailurePolicy = FailurePolicy()

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(f"name must be 1-100 letters, digits, '.', '_' or '-', got {self.name!r}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")

    @property
    def cache_uri(self) -> str:
        return self.cache or self.output.rstrip("/") + "-cache"
