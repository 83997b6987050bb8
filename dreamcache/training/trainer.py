"""The verb train: adapters learn on a frozen base, in this process or as one of several (docs/method.md section 4).

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
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from dreamcache.core.config.train import TrainSettings
from dreamcache.core.errors import DreamCacheError, SpecError
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.training.checkpoints import Checkpoint
from dreamcache.training.dataset import Samples, TrainItems, ValidationItems
from dreamcache.training.loss import AdapterLoss
from dreamcache.training.optimizer import Average, Part, learned, learning_rate
from dreamcache.training.references import StoredReferences
from dreamcache.training.start import new_adapter, new_reader
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
        self.adapter = new_adapter(base, settings, start).to(base.unet.device).train()
        self.stored = None
        if settings.reference.cache:
            self.stored = StoredReferences.open(settings, info, self.adapter.feature_places)
        reader = new_reader(base, self.adapter, settings, start)
        self.loss = AdapterLoss(base, self.adapter, settings, self.stored, reader)
        self.module = wrap(self.loss)
        chosen = settings.optimizer
        self.average = Average(self.adapter, chosen.ema)
        self.parts: list[Part[Any]] = [Part(module=self.adapter, average=self.average)]
        if reader is not None:
            scale = (settings.reference.unet_learning_rate or chosen.learning_rate) / chosen.learning_rate
            average = Average(reader, chosen.ema)
            self.parts.append(Part(module=reader, average=average, prefix="reader/", scale=scale))
        self.optimizer = torch.optim.AdamW(
            [part.group() for part in self.parts],
            lr=chosen.learning_rate,
            betas=chosen.betas,
            weight_decay=chosen.weight_decay,
        )
        self._open_data()

    @property
    def reader_average(self) -> Average[UNet2DConditionModel] | None:
        """The average of the U-Net that reads references, None where the base's own does."""
        return self.parts[1].average if len(self.parts) > 1 else None

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
                group["lr"] = rate * group["scale"]
            loss = self._accumulate(batches, share)
            norm = nn.utils.clip_grad_norm_(
                learned(self.loss).values(), self.settings.optimizer.clip_norm or float("inf")
            )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            for part in self.parts:
                part.average.update(part.module, self.step)
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
        reader = self.reader_average.module if self.reader_average is not None else None
        judge = AdapterLoss(self.base, self.average.module, self.settings, reader=reader)
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
        tensors = {name: value for part in self.parts for name, value in part.pack(self.optimizer).items()}
        return Checkpoint(step=self.step, tensors=tensors)

    def resume(self, found: Checkpoint) -> None:
        self.step = found.step
        for part in self.parts:
            part.unpack(found.tensors, self.optimizer)


class _Positions:
    """The positions of each micro-batch: of every global batch, this process's consecutive share, cut in parts."""

    def __init__(self, settings: TrainSettings, team: Team, step: int, share: int) -> None:
        self.settings, self.team, self.step, self.share = settings, team, step, share

    def __iter__(self) -> Iterator[range]:
        for step in range(self.step, self.settings.steps):
            first = step * self.settings.global_batch + self.team.rank * self.share
            for start in range(0, self.share, self.settings.micro_batch):
                yield range(first + start, first + min(start + self.settings.micro_batch, self.share))
