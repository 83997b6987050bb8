"""The verb train: adapters learn on a frozen base, in this process or as one of several (METHOD section 4).

    positions -> items -> loss -> gradients (accumulated, averaged over the team) -> AdamW -> moving average

`Trainer` makes steps and measures; when something is written, `training.loop` decides. Works in a plain Python
process; with several, torch.distributed is set up by the caller (see `workers.train`). Knows nothing of Ray or jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from dreamcache.artifacts import AdapterInfo, BaseInfo
from dreamcache.errors import DreamCacheError, SpecError
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import load_adapter
from dreamcache.model.places import place_shapes
from dreamcache.train_config import TrainSettings
from dreamcache.train_data import Samples, TrainItems, ValidationItems
from dreamcache.training.checkpoints import Checkpoint
from dreamcache.training.loss import AdapterLoss, trained_places
from dreamcache.training.optimizer import Average, learning_rate, pack, unpack
from dreamcache.training.references import StoredReferences
from dreamcache.training.transform import ItemShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """This process's place among all that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints, curves and samples."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same in each."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One optimizer step. loss: sum over this process's samples; gradient_norm: before clipping."""

    step: int
    loss: Tensor
    gradient_norm: Tensor
    learning_rate: float


class Trainer:
    """The state of a training in one process: adapter, average, optimizer and the number of steps made."""

    def __init__(
        self,
        base: StableDiffusionPipeline,
        info: BaseInfo,
        settings: TrainSettings,
        *,
        team: Team = Team(),
        start: AdapterInfo | None = None,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> None:
        """start: an adapter to go on from. wrap: DistributedDataParallel, where the team is larger than one."""
        if settings.global_batch % team.size:
            raise SpecError(
                f"global_batch: must be a multiple of the number of workers, {team.size}, got {settings.global_batch}"
            )
        self.base, self.info, self.settings, self.team = base, info, settings, team
        self.step = 0
        if settings.gradient_checkpointing:
            base.unet.enable_gradient_checkpointing()
        self.adapter = _new_adapter(base, settings, start).to(base.unet.device).train()
        self.stored = None
        if settings.reference.cache:
            self.stored = StoredReferences.open(settings, info, self.adapter.feature_places)
        self.loss = AdapterLoss(base, self.adapter, settings, self.stored)
        self.module = wrap(self.loss)
        self.average = Average(self.adapter, settings.optimizer.ema)
        chosen = settings.optimizer
        self.optimizer = torch.optim.AdamW(
            self.adapter.parameters(),
            lr=chosen.learning_rate,
            betas=chosen.betas,
            weight_decay=chosen.weight_decay,
        )
        self._open_data()

    def _open_data(self) -> None:
        settings, unet = self.settings, self.base.unet
        size = settings.size or self.info.native_size
        side = size // self.base.vae_scale_factor
        shape = ItemShape(size=size, latent=(unet.config.in_channels, side, side))
        samples = Samples(settings.data, settings.data.path)
        apart = Samples(settings.data, settings.data.validation) if settings.data.validation else samples
        # Without a place of its own, validation takes a tenth of the samples at most.
        most = len(apart) if settings.data.validation else len(samples) // 10
        self.validation = ValidationItems(apart, shape, min(settings.data.validation_samples, most))
        self.num_samples = len(samples)
        self.items = TrainItems(
            samples,
            shape,
            transform=settings.transform,
            loss=settings.loss,
            seed=settings.seed,
            global_batch=settings.global_batch,
            first=0 if settings.data.validation else self.validation.count,
        )

    def steps(self) -> Iterator[Step]:
        """Makes the steps that are left, and yields after each."""
        share = self.settings.global_batch // self.team.size
        batches = self._batches(share)
        while self.step < self.settings.steps:
            rate = learning_rate(self.settings.optimizer, self.step, self.settings.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self._accumulate(batches, share)
            norm = nn.utils.clip_grad_norm_(
                self.adapter.parameters(), self.settings.optimizer.clip_norm or float("inf")
            )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self.average.update(self.adapter, self.step)
            yield Step(step=self.step, loss=loss, gradient_norm=norm, learning_rate=rate)

    def _accumulate(self, batches: Iterator[dict[str, Any]], share: int) -> Tensor:
        """Gradients of the mean error over this process's share of the global batch; the sum of the errors."""
        total, left = torch.zeros((), device=self.base.unet.device), share
        while left:
            batch = next(batches)
            left -= len(batch["share"])
            # Gradients travel once a step, with the last part of it.
            wait = nullcontext() if not left or self.team.size == 1 else self.module.no_sync()  # type: ignore[operator]
            with wait, ExitStack() as hooks:
                losses = self.module(batch, hooks)
                (losses.sum() / share).backward()
            total += losses.detach().sum()
        return total

    def _batches(self, share: int) -> Iterator[dict[str, Any]]:
        """Micro-batches of this process, from the step to be made on, for ever."""
        loaders = self.settings.data.loaders
        return iter(
            DataLoader(
                self.items,  # type: ignore[arg-type]
                batch_sampler=_Positions(self.settings, self.team, self.step, share),
                num_workers=loaders,
                # A forked child would share sockets and threads with this process.
                multiprocessing_context="spawn" if loaders else None,
                persistent_workers=bool(loaders),
            )
        )

    def mean_loss(self, losses: Sequence[Tensor]) -> float:
        """The mean error of so many steps over all processes. Raises DreamCacheError `diverged` if it is no number."""
        value = float(self.team.sum(torch.stack(list(losses)).sum())) / (
            len(losses) * self.settings.global_batch
        )
        if value != value or value in (float("inf"), float("-inf")):
            raise DreamCacheError(
                f"training: the loss must stay finite, got {value} before step {self.step}; lower "
                f"optimizer.learning_rate, and delete checkpoints that are later than the trouble",
                code="diverged",
            )
        return value

    def validate(self) -> list[dict[str, float]]:
        """Squared error on the subject, by noise level, with right, wrong and no reference; the average's weights."""
        count, levels = self.validation.count, self.settings.every.levels
        names = ("right", "wrong", "none")
        sums = torch.zeros(len(levels), len(names), device=self.base.unet.device)
        judge = AdapterLoss(self.base, self.average.adapter, self.settings)
        mine = range(self.team.rank, count, self.team.size)
        for start in range(0, len(mine), self.settings.micro_batch):
            numbers = mine[start : start + self.settings.micro_batch]
            batch = default_collate([self.validation[n] for n in numbers])
            wrong = default_collate([self.validation[(n + max(1, count // 2)) % count] for n in numbers])
            for row, level in enumerate(levels):
                errors = judge.level_errors(batch, level, {"right": batch, "wrong": wrong, "none": None})
                sums[row] += torch.stack([errors[name].sum() for name in names])
        means = (self.team.sum(sums) / max(1, count)).tolist()
        return [
            {"step": self.step, "level": level, **dict(zip(names, row, strict=True))}
            for level, row in zip(levels, means, strict=True)
        ]

    def checkpoint(self) -> Checkpoint:
        """What `resume` needs to go on as if nothing had happened."""
        return Checkpoint(step=self.step, tensors=pack(self.adapter, self.average.adapter, self.optimizer))

    def resume(self, found: Checkpoint) -> None:
        self.step = found.step
        unpack(found.tensors, self.adapter, self.average.adapter, self.optimizer)


class _Positions:
    """The positions of each micro-batch: of every global batch, this process's consecutive share, cut in parts."""

    def __init__(self, settings: TrainSettings, team: Team, step: int, share: int) -> None:
        self.settings, self.team, self.step, self.share = settings, team, step, share

    def __iter__(self) -> Iterator[range]:
        for step in range(self.step, self.settings.steps):
            first = step * self.settings.global_batch + self.team.rank * self.share
            for start in range(0, self.share, self.settings.micro_batch):
                yield range(first + start, first + min(start + self.settings.micro_batch, self.share))


def _new_adapter(
    base: StableDiffusionPipeline, settings: TrainSettings, start: AdapterInfo | None
) -> DreamCacheAdapter:
    """The adapter at `start`, or a fresh one that leaves the base as it is; the same in every process."""
    wanted, places = settings.reference, trained_places(base.unet, settings)
    if start is not None:
        asked = {
            "places": (sorted(start.places), sorted(places)),
            "integration": (start.integration, wanted.integration),
            "features": (start.features, wanted.features),
        }
        for name, (held, ours) in asked.items():
            if held != ours:
                raise SpecError(
                    f"model.adapter: its {name} is {held}, but this training asks for {ours}; set reference.{name} to "
                    f"the adapter's"
                )
        return load_adapter(start, base.unet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return DreamCacheAdapter(
            place_shapes(base.unet, places, wanted.features),
            integration=wanted.integration,
            features=wanted.features,
        )
