"""The training file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (see `dreamcache.core.config.train`); knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from dreamcache.core.config import FORBID_UNKNOWN
from dreamcache.core.config.train import TrainSettings
from jobs.spec_file import SpecFile, anchor, anchor_model


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
            base=anchor_model(model.base, folder),
            adapter=anchor(model.adapter, folder) if model.adapter else None,
        ),
    )


_FILE = SpecFile(TrainSpec, "training", remedy="see docs/training.md", anchored=_anchored)
load_train_spec, parse_train_spec, dump_train_spec = _FILE.load, _FILE.parse, _FILE.dump
