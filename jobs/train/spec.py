"""The training file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (see `dreamcache.core.config.train`); knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dreamcache.core.config.fields import Name, NotNegative, WorkerCount, ZeroOrMore
from dreamcache.core.config.rules import Settings
from dreamcache.core.config.train import TrainSettings
from dreamcache.core.config.train_recipes import recipe_values
from dreamcache.core.locations import Location, ModelRef, Written
from jobs.evaluate.spec import merged
from jobs.spec_file import SpecFile


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainModelSpec(Settings):
    """base: `mini`, a diffusers folder, or a hub id with `revision`. adapter: to resume from, None for a new one."""

    base: ModelRef = "mini"
    revision: str | None = None
    adapter: Location | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainWorkersSpec(Settings):
    """What Ray provides: number of workers, each one's CPUs and GPUs. max_failures: restarts after a worker's death."""

    count: WorkerCount = 1
    cpus: NotNegative = 1
    gpus: NotNegative = 0
    max_failures: ZeroOrMore = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSpec(Settings):
    """A training: data, a base model, settings, and where checkpoints and the adapter go.

    hooks: what receives the progress, "tensorboard" or "package.module:function" (see `dreamcache.training.hooks`).
    """

    name: Name
    output: Written
    train: TrainSettings
    model: TrainModelSpec = TrainModelSpec()
    workers: TrainWorkersSpec = TrainWorkersSpec()
    hooks: tuple[str, ...] = ("tensorboard",)

    def check(self) -> None:
        if self.train.global_batch % self.workers.count:
            raise ValueError(
                f"train.global_batch must be a multiple of workers.count, {self.workers.count}, "
                f"got {self.train.global_batch}"
            )


class _TrainFile(SpecFile[TrainSpec]):
    """A training file: what it sets itself goes before its recipe, and the recipe before the defaults."""

    def parse(self, values: Mapping[str, Any], where: str | None = None) -> TrainSpec:
        train = values.get("train")
        if isinstance(train, Mapping):
            values = {**values, "train": merged(recipe_values(train.get("recipe")), train)}
        return super().parse(values, where)


_FILE = _TrainFile(TrainSpec, "training", remedy="see docs/training.md")
load_train_spec, parse_train_spec, dump_train_spec = _FILE.load, _FILE.parse, _FILE.dump
