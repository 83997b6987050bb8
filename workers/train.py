"""The trainer: Ray Train starts one of these loops per worker, joined by torch.distributed (NCCL on GPUs, else gloo).

Checkpoints go through our own storage, not Ray's: one object, one JSON that names it, on a disk or s3:// alike. So a
training resumes in the same way after a worker died (Ray starts the group again) and after the driver died (the user
starts the same command again).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamcache.core.config.train import TrainSettings
from dreamcache.core.errors import DreamCacheError
from workers.bootstrap import start_torch

if TYPE_CHECKING:
    from dreamcache.training.trainer import Trainer

GROUP_TIMEOUT_S = 1800
PASSING = ("storage", "storage_unreachable", "io_error", "expired_credentials")
"""Codes of errors that another try may not meet; every other error of ours ends the training at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainContext:
    """What every training worker needs to know. num_threads: torch threads of one; adapter: the one to start from."""

    name: str
    output: str
    base: str
    revision: str | None
    adapter: str | None
    settings: TrainSettings
    hooks: tuple[str, ...]
    num_threads: int


def fit(context: TrainContext, *, workers: int, cpus: float, gpus: float, max_failures: int) -> None:
    """Trains to the end on `workers` workers of a running Ray, started again at most `max_failures` times.

    Raises ray.train.TrainingFailedError: after those restarts, or at once for an error that every try would meet.
    """
    from ray.train import TrainingFailedError

    for remaining in range(max_failures, -1, -1):
        try:
            _fit_once(context, workers=workers, cpus=cpus, gpus=gpus)
            return
        except TrainingFailedError as error:
            if not remaining or fixed_error(error) is not None:
                raise


def fixed_error(error: BaseException) -> DreamCacheError | None:
    """The error of ours among the workers' that another try would meet too, None where there is none.

    When one worker raises it, the others fail as well, of the connection that they lose.
    """
    failures = getattr(error, "worker_failures", {}).values()
    causes = [getattr(failure, "_base_exc", failure) for failure in failures]
    return next((one for one in causes if isinstance(one, DreamCacheError) and one.code not in PASSING), None)


def _fit_once(context: TrainContext, *, workers: int, cpus: float, gpus: float) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    # Ray requires a storage folder; nothing is stored there, so the nodes need not share it.
    with tempfile.TemporaryDirectory(prefix="dreamcache-train-") as folder:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"context": context},
            torch_config=TorchConfig(timeout_s=GROUP_TIMEOUT_S),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources
            ),
            # Ray would start the group again for any error, also for one that stays.
            run_config=RunConfig(
                name="train", storage_path=folder, failure_config=FailureConfig(max_failures=0)
            ),
        )
        trainer.fit()


def train_worker(config: dict[str, TrainContext]) -> None:
    """One worker's run, from the newest checkpoint to the end."""
    import ray.train

    from dreamcache.training.checkpoints import TrainFolder
    from dreamcache.training.hooks import load_hooks
    from dreamcache.training.loop import TrainLoop

    context = config["context"]
    trainer = load_trainer(context)

    def report(step: int, metrics: Mapping[str, float]) -> None:
        ray.train.report({"step": step, **metrics})

    hooks = load_hooks(context.hooks, context.output) if trainer.team.is_main_process else []
    TrainLoop(
        trainer, TrainFolder(context.output), name=context.name, hooks=hooks, on_checkpoint=report
    ).run()


def load_trainer(context: TrainContext) -> Trainer:
    """This worker's trainer: base on its device, the adapter wrapped for the group."""
    import ray.train
    import torch
    from ray.train.torch import get_device
    from torch.nn.parallel import DistributedDataParallel

    from dreamcache.inference.families.open import layout_of
    from dreamcache.storage.models.adapter import describe_adapter
    from dreamcache.training.trainer import Team, Trainer

    start_torch(context.num_threads)
    group = ray.train.get_context()
    team = Team(rank=group.get_world_rank(), size=group.get_world_size())
    layout = layout_of(context.base, context.revision)
    info = layout.describe(context.base, context.revision)
    return Trainer(
        layout.load(info, dtype=getattr(torch, context.settings.precision), device=str(get_device())),
        info,
        context.settings,
        team=team,
        start=describe_adapter(context.adapter, info) if context.adapter else None,
        wrap=DistributedDataParallel if team.size > 1 else lambda module: module,
        layout=layout,
    )
