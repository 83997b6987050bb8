"""The verb train: adapters learn on a frozen base, in this process or as one of several (docs/method.md section 4).

    positions -> items -> loss -> gradients (accumulated, averaged over the team) -> AdamW -> EMA

`Trainer` runs steps and measures; `training.loop` decides when something is written. Works in a plain Python
process; with several, torch.distributed is set up by the caller (see `workers.train`). Knows nothing of Ray or jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import default_collate

from dreamcache.core.config.train import TrainSettings
from dreamcache.core.errors import DreamCacheError, SpecError
from dreamcache.inference.layouts import STABLE_DIFFUSION, BaseLayout
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.training.bad_samples import BadSample, check_bad
from dreamcache.training.checkpoints import Checkpoint
from dreamcache.training.dataset import Samples, TrainItems, ValidationItems
from dreamcache.training.loaders import SampleRows, micro_batches, num_loaders
from dreamcache.training.loss import AdapterLoss, TrainBatch
from dreamcache.training.optimizer import EMA, TrainedModule, learned, learning_rate
from dreamcache.training.references import StoredReferences
from dreamcache.training.start import new_adapter, new_reader, prepare_base
from dreamcache.training.transform import ItemShape

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """This process among all that train together."""

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes checkpoints, curves and samples."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every process's value, the same list in each."""
        if self.size == 1:
            return [value]
        gathered: list[T] = [value] * self.size
        torch.distributed.all_gather_object(gathered, value)
        return gathered

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
    """The state of a training in one process: adapter, average, optimizer and the number of steps done."""

    def __init__(
        self,
        base: DiffusionPipeline,
        info: BaseInfo,
        settings: TrainSettings,
        *,
        team: Team = Team(),
        start: AdapterInfo | None = None,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        layout: BaseLayout = STABLE_DIFFUSION,
    ) -> None:
        """base: of `layout`. start: an adapter to continue. wrap: DistributedDataParallel, for a team of several."""
        if settings.global_batch % team.size:
            raise SpecError(
                f"global_batch: must be a multiple of the number of workers, {team.size}, got {settings.global_batch}"
            )
        layout.check(base)
        self.base, self.info, self.settings, self.team, self.layout = base, info, settings, team, layout
        self.start_fingerprint = start.fingerprint if start is not None else None
        self.step = 0
        self.bad: dict[int, BadSample] = {}
        self.bad_held_out: dict[int, BadSample] = {}  # of earlier runs, numbered as in `all_bad`
        prepare_base(base, info, settings)
        self.adapter = new_adapter(base, settings, start).to(base.unet.device).train()
        places = self.adapter.feature_places
        self.stored = StoredReferences.open(settings, info, places) if settings.reference.cache else None
        reader = new_reader(base, self.adapter, settings, start)
        self.loss = AdapterLoss(base, self.adapter, settings, self.stored, reader, layout)
        self.module = wrap(self.loss)
        chosen = settings.optimizer
        self.average = EMA(self.adapter, chosen.ema)
        self.parts: list[TrainedModule[Any]] = [TrainedModule(module=self.adapter, average=self.average)]
        self.reader_average: EMA[UNet2DConditionModel] | None = None
        if reader is not None:
            self._add_reader(reader)
        self.optimizer = torch.optim.AdamW(
            [part.group() for part in self.parts],
            lr=chosen.learning_rate,
            betas=chosen.betas,
            weight_decay=chosen.weight_decay,
        )
        self._open_data()

    def _add_reader(self, reader: UNet2DConditionModel) -> None:
        chosen = self.settings.optimizer
        rate = self.settings.reference.unet_learning_rate or chosen.learning_rate
        self.reader_average = EMA(reader, chosen.ema)
        self.parts.append(
            TrainedModule(
                module=reader,
                average=self.reader_average,
                prefix="reader/",
                scale=rate / chosen.learning_rate,
            )
        )

    def _open_data(self) -> None:
        settings, unet = self.settings, self.base.unet
        size = settings.size or self.info.native_size
        side = size // self.base.vae_scale_factor
        shape = ItemShape(size=size, latent=(unet.config.in_channels, side, side))
        # Cached features are those that a job computes, which decodes photos whole.
        is_cached = bool(settings.reference.cache)
        samples = Samples(settings.data, settings.data.path, side=size, has_whole_references=is_cached)
        held_out = samples
        if settings.data.validation:
            held_out = Samples(settings.data, settings.data.validation, side=size)
        # Without a folder of its own, validation takes a tenth of the samples at most.
        most = len(held_out) if settings.data.validation else len(samples) // 10
        self.validation = ValidationItems(held_out, shape, min(settings.data.validation_samples, most))
        self.num_samples = len(samples)
        self.items = TrainItems(
            samples,
            shape,
            transform=settings.transform,
            loss=settings.loss,
            seed=settings.seed,
            global_batch=settings.global_batch,
            first=0 if settings.data.validation else self.validation.count,
            subset=settings.data.subset,
            samples_posterior=settings.posterior == "sample",
        )

    def steps(self) -> Iterator[Step]:
        """Runs the remaining steps, and yields after each."""
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

    def _accumulate(self, batches: Iterator[TrainBatch], share: int) -> Tensor:
        """Gradients of the mean error over this process's share of the global batch; the sum of the errors."""
        total, remaining = torch.zeros((), device=self.base.unet.device), share
        while remaining:
            batch = next(batches)
            remaining -= len(batch["share"])
            # Gradients travel once a step, with the last part of it.
            wait: AbstractContextManager[None] = nullcontext()
            if remaining and isinstance(self.module, DistributedDataParallel):
                wait = self.module.no_sync()
            with wait, ExitStack() as hooks:
                losses: Tensor = self.module(batch, hooks)
                (losses.sum() / share).backward()
            total += losses.detach().sum()
        return total

    def _batches(self, share: int) -> Iterator[TrainBatch]:
        """Micro-batches of this process, from the next step to the last; notes the samples that cannot be used."""
        on_gpu = self.base.unet.device.type == "cuda"
        rows = SampleRows(
            first=self.team.rank * share,
            count=share,
            global_batch=self.settings.global_batch,
            step=self.step,
            steps=self.settings.steps,
        )
        loaders = num_loaders(self.settings.data.loaders, share, has_gpu=on_gpu)
        for batch, bad in micro_batches(
            self.items, rows, micro_batch=self.settings.micro_batch, loaders=loaders, pin=on_gpu
        ):
            self._note_bad(bad)
            yield batch

    def _note_bad(self, samples: Sequence[BadSample]) -> None:
        self.bad |= {sample.number: sample for sample in samples}
        if samples:
            self._check_bad(len(self.bad), samples[-1].message)

    def _check_bad(self, count: int, last: str) -> None:
        check_bad(count, self.num_samples, self.settings.data, self.settings.data.path, last)

    def recall_bad(self, samples: Sequence[BadSample]) -> int:
        """Samples that earlier runs of this training listed, numbered as in `all_bad`, count on. How many of them can
        be this training's."""
        num_held_out = len(self.validation.samples) if self.settings.data.validation is not None else 0
        self.bad |= {one.number: one for one in samples if 0 <= one.number < self.num_samples}
        self.bad_held_out |= {one.number: one for one in samples if -num_held_out <= one.number < 0}
        return len(self.bad) + len(self.bad_held_out)

    def all_bad(self) -> list[BadSample]:
        """Samples that could not be used so far by any process, in order; called by all processes at once. A held-out
        one of a validation location of its own is numbered from -1 downwards.

        Raises ImageError `too_many_bad_samples` for more than the settings allow.
        """
        held_out = self.validation.samples.bad
        if self.settings.data.validation is None:
            self.bad |= held_out
        pairs = [*self.bad.values(), *self.bad_held_out.values()]
        if self.settings.data.validation is not None:
            pairs += [replace(sample, number=-1 - sample.number) for sample in held_out.values()]
        gathered = self.team.gather(pairs)
        union = {sample.number: sample for own in gathered for sample in own}
        trained_on = [sample for sample in union.values() if sample.number >= 0]
        if trained_on:
            self._check_bad(len(trained_on), trained_on[-1].message)
        return [union[number] for number in sorted(union)]

    def mean_loss(self, losses: Sequence[Tensor]) -> float:
        """The mean error of several steps over all processes. Raises DreamCacheError `diverged` if it is not finite."""
        value = float(self.team.sum(torch.stack(list(losses)).sum())) / (
            len(losses) * self.settings.global_batch
        )
        if value != value or value in (float("inf"), float("-inf")):
            raise DreamCacheError(
                f"training: the loss must stay finite, got {value} before step {self.step}; lower "
                f"optimizer.learning_rate, and delete the checkpoints after the last good step",
                code="diverged",
            )
        return value

    def validate(self) -> list[dict[str, float]]:
        """Squared error on the subject, by noise level, with right, wrong and no reference; the average's weights."""
        count, levels = self.validation.count, self.settings.every.levels
        names = ("right", "wrong", "none")
        sums = torch.zeros(len(levels), len(names), device=self.base.unet.device)
        reader = self.reader_average.module if self.reader_average is not None else None
        judge = AdapterLoss(self.base, self.average.module, self.settings, reader=reader, layout=self.layout)
        own = range(self.team.rank, count, self.team.size)
        for start in range(0, len(own), self.settings.micro_batch):
            numbers = own[start : start + self.settings.micro_batch]
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
        """What `resume` needs to continue as if the training had not stopped."""
        tensors = {name: value for part in self.parts for name, value in part.pack(self.optimizer).items()}
        return Checkpoint(step=self.step, tensors=tensors)

    def resume(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint.step
        for part in self.parts:
            part.unpack(checkpoint.tensors, self.optimizer)
