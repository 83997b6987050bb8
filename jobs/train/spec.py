"""The training file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (see `dreamcache.train_config`); knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from dreamcache.config import FORBID_UNKNOWN
from dreamcache.train_config import TrainSettings
from jobs.yaml_file import anchor, dump, parse, read_yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainModelSpec:
    """base: `mini`, a diffusers folder, or a hub id with `revision`. adapter: one to go on from, None for a new one."""

    base: str = "mini"
    revision: str | None = None
    adapter: str | None = None

    __pydantic_config__ = FORBID_UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainWorkersSpec:
    """What Ray gives: number of workers, each one's CPUs and GPUs. max_failures: restarts after a worker's death."""

    count: int = 1
    cpus: float = 1
    gpus: float = 0
    max_failures: int = 3

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.max_failures < 0:
            raise ValueError(f"max_failures must be 0 or more, got {self.max_failures}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSpec:
    """A training: data, a base model, settings, and where checkpoints and the adapter go.

    hooks: who is told of the progress, "tensorboard" or "package.module:function" (see `dreamcache.training.hooks`).
    """

    name: str
    output: str
    train: TrainSettings
    model: TrainModelSpec = TrainModelSpec()
    workers: TrainWorkersSpec = TrainWorkersSpec()
    hooks: tuple[str, ...] = ("tensorboard",)

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(f"name must be 1-100 letters, digits, '.', '_' or '-', got {self.name!r}")
        if self.train.global_batch % self.workers.count:
            raise ValueError(
                f"train.global_batch must be a multiple of workers.count, {self.workers.count}, "
                f"got {self.train.global_batch}"
            )


_ADAPTER = TypeAdapter(TrainSpec)


def load_train_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainSpec:
    """Reads train.yaml; local paths in it are relative to its folder. overrides: {"train.steps": 1000}.

    Raises SpecError with file, key, rule and remedy.
    """
    path = Path(path)
    values = read_yaml(path, overrides or {}, kind="training file", remedy="see docs/training.md")
    return _anchored(parse_train_spec(values, where=str(path)), path.parent)


def parse_train_spec(values: Mapping[str, Any], where: str = "training") -> TrainSpec:
    """Checks plain values against TrainSpec. Raises SpecError naming every broken rule."""
    return parse(_ADAPTER, TrainSpec, values, where)


def dump_train_spec(spec: TrainSpec) -> str:
    """The whole spec as YAML, defaults included, so that a training's folder tells all."""
    return dump(_ADAPTER, spec)


def _anchored(spec: TrainSpec, folder: Path) -> TrainSpec:
    data, model, reference = spec.train.data, spec.model, spec.train.reference
    return replace(
        spec,
        output=anchor(spec.output, folder),
        train=replace(
            spec.train,
            data=replace(
                data,
                path=anchor(data.path, folder),
                validation=anchor(data.validation, folder) if data.validation else None,
            ),
            reference=replace(reference, cache=anchor(reference.cache, folder) if reference.cache else ""),
        ),
        model=replace(
            model,
            base=anchor(model.base, folder) if (folder / model.base).is_dir() else model.base,
            adapter=anchor(model.adapter, folder) if model.adapter else None,
        ),
    )
