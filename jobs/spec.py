"""The job file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings; knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from dreamcache.config import (
    FORBID_UNKNOWN,
    DType,
    EncodeSettings,
    GenerationSettings,
    ImageFormat,
    ImageLimits,
)
from dreamcache.errors import SpecError, did_you_mean


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
    """What one group of workers is given by Ray: number of workers, and each one's share of CPU, GPU, memory."""

    count: int = 1
    cpus: float = 1
    gpus: float = 0
    memory_bytes: int | None = None

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """A job: a catalog, prompts, a model, and where images go.

    catalog: CSV, JSONL or Parquet file, or a folder of images; a path or s3:// URI. columns maps our names to
    the catalog's own ({subject_id: sku}). class_name: for rows that have none. prompts: templates with
    {class_name}, {subject_id} and any catalog column; a row's own prompts come first. samples: images of every
    subject and prompt. seed: of the whole job. cache: shared by jobs; beside the output where not given.
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
    model: ModelSpec = ModelSpec()
    reference: EncodeSettings = EncodeSettings()
    generation: GenerationSettings = GenerationSettings()
    images: ImageFormat = ImageFormat()
    limits: ImageLimits = ImageLimits()
    workers: WorkersSpec = WorkersSpec()

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(f"name must be 1-100 letters, digits, '.', '_' or '-', got {self.name!r}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")

    @property
    def cache_uri(self) -> str:
        return self.cache or self.output.rstrip("/") + "-cache"


_ADAPTER = TypeAdapter(JobSpec)


def load_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> JobSpec:
    """Reads job.yaml; local paths in it are relative to its folder. overrides: {"generation.scheduler": "euler"}.

    Raises SpecError with file, key, rule and remedy.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such job file; 'dreamcache init' writes one to start from") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        hint = (
            "; quote texts that begin with or, in [lists], hold { }"
            if isinstance(error, yaml.YAMLError)
            else ""
        )
        raise SpecError(
            f"{path}: must be a readable YAML file: {' '.join(str(error).split())}{hint}"
        ) from error
    if not isinstance(values, dict):
        raise SpecError(f"{path}: must hold 'key: value' lines, got {type(values).__name__}")
    for dotted, value in (overrides or {}).items():
        _set(values, dotted.split("."), value)
    return _anchored(parse_spec(values, where=str(path)), path.parent)


def parse_spec(values: Mapping[str, Any], where: str = "job") -> JobSpec:
    """Checks plain values against JobSpec. Raises SpecError naming every broken rule."""
    try:
        return _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise SpecError("; ".join(f"{where}: {_explain(problem)}" for problem in error.errors())) from error


def dump_spec(spec: JobSpec) -> str:
    """The whole spec as YAML, defaults included, so that a job's folder tells all."""
    return yaml.safe_dump(_ADAPTER.dump_python(spec, mode="json"), sort_keys=False, allow_unicode=True)


def _explain(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key '{path}'{did_you_mean(str(problem['loc'][-1]), _names_at(problem['loc'][:-1]))}"
    if problem["type"].startswith("missing"):
        return f"key '{path}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
    return f"{path}: {message}{got}" if path else f"{message}{got}"


def _names_at(loc: tuple[Any, ...]) -> list[str]:
    kind: Any = JobSpec
    for part in loc:
        kind = get_type_hints(kind).get(part)
        if not is_dataclass(kind):
            return []
    return [item.name for item in fields(kind)]


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise SpecError(f"--set {'.'.join(keys)}: '{key}' is no group of settings")
    values[keys[-1]] = value


def _anchored(spec: JobSpec, folder: Path) -> JobSpec:
    def anchor(uri: str) -> str:
        return uri if "://" in uri else str((folder / Path(uri).expanduser()).absolute())

    anchored = replace(
        spec,
        catalog=anchor(spec.catalog),
        output=anchor(spec.output),
        cache=anchor(spec.cache) if spec.cache else None,
        model=replace(
            spec.model,
            base=anchor(spec.model.base) if (folder / spec.model.base).is_dir() else spec.model.base,
            adapter=anchor(spec.model.adapter) if spec.model.adapter else None,
        ),
    )
    _check_outside_catalog(anchored)
    return anchored


def _check_outside_catalog(spec: JobSpec) -> None:
    """A folder catalog is read with all below it: images made there would be the next run's products."""

    def folder(uri: str) -> str:
        return (uri if "://" in uri else os.path.normpath(uri)).rstrip("/") + "/"

    for key, place in (("output", spec.output), ("cache", spec.cache_uri)):
        if folder(place).startswith(folder(spec.catalog)):
            raise SpecError(
                f"{key}: must lie outside the catalog's folder '{spec.catalog}', got '{place}'; choose another folder"
            )
