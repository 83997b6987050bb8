"""How fast training samples are read: in this process, and by loader processes.

    shards -> decoded -> transformed -> collated      counted in samples a second, without any model

Knows the data path of a training (see `loaders`); knows nothing of models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from dreamcache.core.config.train import TrainSettings
from dreamcache.storage.json_object import JsonObject
from dreamcache.training.dataset import Samples, TrainItems
from dreamcache.training.loaders import SampleRows, micro_batches
from dreamcache.training.transform import ItemShape


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderSpeed:
    """loaders: processes, 0 for the training's own. samples_per_s: by all of them; cores: that they have at most."""

    loaders: int
    cores: int
    samples_per_s: float

    @property
    def samples_per_s_a_core(self) -> float:
        return self.samples_per_s / self.cores


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadSpeeds:
    """decode_share: of the time in this process, the part that opens shards and decodes. shards: opened meanwhile."""

    samples: int
    side: int
    decode_share: float
    shards_opened: int
    speeds: tuple[LoaderSpeed, ...]
    bad: int

    def as_dict(self) -> JsonObject:
        rows = [asdict(one) | {"samples_per_s_a_core": one.samples_per_s_a_core} for one in self.speeds]
        return asdict(self) | {"speeds": rows}


def measure_reading(
    settings: TrainSettings, shape: ItemShape, *, samples: int, loaders: Sequence[int], cores: int
) -> ReadSpeeds:
    """Reads the first `samples` of a training's order with each number of loaders. cores: of this machine.

    The first global batch only starts the processes and is not counted. Raises what a training's reading raises.
    """
    steps = max(1, -(-samples // settings.global_batch))
    speeds = []
    decode_share, opened, bad = 0.0, 0, 0
    for count in loaders:
        items = _items(settings, shape)
        if count == 0:
            decode_share = _decode_share(items, min(samples, settings.global_batch))
            items = _items(settings, shape)
        seconds = _seconds(items, settings, steps, count)
        if count == 0:
            opened, bad = items.samples.num_opened, len(items.bad)
        speeds.append(
            LoaderSpeed(
                loaders=count,
                cores=min(cores, max(1, count)),
                samples_per_s=steps * settings.global_batch / seconds,
            )
        )
    return ReadSpeeds(
        samples=steps * settings.global_batch,
        side=shape.size,
        decode_share=decode_share,
        shards_opened=opened,
        speeds=tuple(speeds),
        bad=bad,
    )


def _items(settings: TrainSettings, shape: ItemShape) -> TrainItems:
    return TrainItems(
        Samples(settings.data, settings.data.path, side=shape.size),
        shape,
        transform=settings.transform,
        loss=settings.loss,
        seed=settings.seed,
        global_batch=settings.global_batch,
        subset=settings.data.subset,
        samples_posterior=settings.posterior == "sample",
    )


def _decode_share(items: TrainItems, count: int) -> float:
    """The share of reading and decoding in an item's time, in this process: of each sample both are timed, as it is
    read once only. A second pass would find shards opened and files in memory."""
    decoding = transforming = 0.0
    for position in range(count):
        started = time.perf_counter()
        sample = items.sample_at(position)
        decoded = time.perf_counter()
        items.item_of(position, sample)
        decoding += decoded - started
        transforming += time.perf_counter() - decoded
    return decoding / (decoding + transforming)


def _seconds(items: TrainItems, settings: TrainSettings, steps: int, loaders: int) -> float:
    rows = SampleRows(
        first=0, count=settings.global_batch, global_batch=settings.global_batch, step=0, steps=steps + 1
    )
    batches = micro_batches(
        items, rows, micro_batch=settings.global_batch, loaders=min(loaders, rows.count), pin=False
    )
    next(batches)
    started = time.perf_counter()
    for _ in range(steps):
        next(batches)
    return time.perf_counter() - started
