"""Batches of one process, read ahead by loader processes of which each has rows of its own in every global batch.

    rows of the global batch -> ranks -> loaders (contiguous) -> parts -> joined -> micro-batches

A loader keeps its rows, so it keeps their streams (see `order`) and opens their shards alone. Batches are the same for
any number of loaders. Knows torch's DataLoader; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from dreamcache.core.errors import DreamCacheError
from dreamcache.training.bad_samples import BadSample
from dreamcache.training.dataset import TrainItems
from dreamcache.training.loss import TrainBatch

LOADERS_OF_A_GPU = 4
"""Processes for each worker with a GPU, unless `data.loaders` is set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRows:
    """Which rows of every global batch a process trains on, from which step to which."""

    first: int
    count: int
    global_batch: int
    step: int
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPart:
    """One loader's rows of one step, collated. bad: samples that it could not use since its last part."""

    batch: TrainBatch
    bad: tuple[BadSample, ...]


class _Parts(IterableDataset[ShardPart | DreamCacheError]):
    """The parts of one loader, a step each; all parts where there is no loader. An error of ours is the last value:
    torch would raise one of the same type in its place, with a traceback as its message and without its code."""

    def __init__(self, items: TrainItems, rows: SampleRows) -> None:
        self.items, self.rows = items, rows

    def __iter__(self) -> Iterator[ShardPart | DreamCacheError]:
        try:
            yield from self._parts()
        except DreamCacheError as error:
            yield error

    def _parts(self) -> Iterator[ShardPart]:
        info = get_worker_info()
        number, count = (0, 1) if info is None else (info.id, info.num_workers)
        own = np.array_split(np.arange(self.rows.first, self.rows.first + self.rows.count), count)[number]
        reported: set[int] = set()
        for step in range(self.rows.step, self.rows.steps):
            items = [self.items[step * self.rows.global_batch + int(row)] for row in own]
            bad = self.items.bad
            fresh = tuple(bad[key] for key in list(bad) if key not in reported)
            reported |= {sample.number for sample in fresh}
            yield ShardPart(batch=cast("TrainBatch", default_collate(items)), bad=fresh)


def num_loaders(wanted: int | None, rows: int, *, has_gpu: bool) -> int:
    """Loader processes of a worker with `rows` rows: each has at least one."""
    return min(rows, (LOADERS_OF_A_GPU if has_gpu else 0) if wanted is None else wanted)


def micro_batches(
    items: TrainItems, rows: SampleRows, *, micro_batch: int, loaders: int, pin: bool
) -> Iterator[tuple[TrainBatch, tuple[BadSample, ...]]]:
    """Micro-batches in the order of rows, step by step, each with the samples that turned out to be bad meanwhile.

    Raises the DreamCacheError that a loader met.
    """
    parts = iter(
        DataLoader(
            _Parts(items, rows),
            batch_size=None,
            num_workers=loaders,
            # A forked child would share sockets and threads with this process.
            multiprocessing_context="spawn" if loaders else None,
            persistent_workers=bool(loaders),
        )
    )
    for _ in range(rows.step, rows.steps):
        step_parts = [_intact(next(parts)) for _ in range(max(1, loaders))]
        batch = _joined([part.batch for part in step_parts], pin)
        bad = tuple(sample for part in step_parts for sample in part.bad)
        for start in range(0, rows.count, micro_batch):
            yield _rows_of(batch, start, start + micro_batch), bad
            bad = ()


def _intact(part: ShardPart | DreamCacheError) -> ShardPart:
    if isinstance(part, DreamCacheError):
        raise part
    return part


def _joined(batches: Sequence[TrainBatch], pin: bool) -> TrainBatch:
    joined: dict[str, Any] = {}
    for name in batches[0]:
        values: list[Any] = [cast("Mapping[str, Any]", batch)[name] for batch in batches]
        if isinstance(values[0], Tensor):
            whole = values[0] if len(values) == 1 else torch.cat(values)
            joined[name] = whole.pin_memory() if pin else whole
        else:
            joined[name] = [one for value in values for one in value]
    return cast("TrainBatch", joined)


def _rows_of(batch: TrainBatch, start: int, end: int) -> TrainBatch:
    return cast(
        "TrainBatch", {name: value[start:end] for name, value in cast("Mapping[str, Any]", batch).items()}
    )
