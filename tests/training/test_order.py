"""Shards are read once an epoch over all processes, in an order that does not depend on how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamcache.core.config.train import DataSettings, LossSettings, TransformSettings
from dreamcache.training.dataset import Samples, TrainItems
from dreamcache.training.loaders import SampleRows, micro_batches
from dreamcache.training.order import SampleOrder, num_streams
from dreamcache.training.transform import ItemShape
from tests.train_samples import write_tars

SHARDS, EACH = 192, 20
SPANS = [(shard * EACH, (shard + 1) * EACH) for shard in range(SHARDS)]


def opened(ranks: int, loaders: int, global_batch: int, epochs: int = 2) -> float:
    """Shards opened by all loaders, each holding only the live windows of its own rows, for each shard and epoch."""
    total = 0
    steps = epochs * SHARDS * EACH // global_batch
    blocks = np.array_split(np.arange(global_batch), ranks * loaders)
    for rows in blocks:
        order = SampleOrder(SPANS, seed=1, global_batch=global_batch, window=4)
        live: dict[int, frozenset[int]] = {}
        for step in range(steps):
            for row in rows.tolist():
                position = step * global_batch + row
                window, _ = order.window_at(position)
                shards = frozenset((window // EACH).tolist())
                stream = order.stream_of(position)
                if live.get(stream) != shards:
                    total += len(shards - frozenset().union(*live.values()))
                    live[stream] = shards
    return total / (SHARDS * epochs)


@pytest.mark.parametrize(("ranks", "loaders", "global_batch"), [(1, 4, 48), (4, 4, 48), (8, 8, 64)])
def test_each_shard_is_read_once_an_epoch(ranks: int, loaders: int, global_batch: int) -> None:
    # A shard that ends one epoch of a stream and begins the next stays open: a little less than 1.
    assert 0.98 <= opened(ranks, loaders, global_batch) <= 1.0


def test_an_epoch_holds_each_sample_once_whatever_the_streams() -> None:
    order = SampleOrder([(0, 6), (6, 12), (12, 18), (18, 24)], seed=3, global_batch=8, window=4)
    assert order.streams == 4
    first = [order.number(position) for position in range(24)]
    second = [order.number(position) for position in range(24, 48)]
    assert sorted(first) == sorted(second) == list(range(24)) and first != second
    again = SampleOrder([(0, 6), (6, 12), (12, 18), (18, 24)], seed=3, global_batch=8, window=4)
    assert [again.number(position) for position in range(40, 48)] == second[16:], "resumed in the middle"


def test_streams_need_shards_and_memory() -> None:
    assert num_streams([10], 0, 48) == 1
    assert num_streams([10] * 100, 0, 48) == 48
    assert num_streams([10] * 30, 0, 48) == 24
    assert num_streams([10] * 100, 4 << 30, 48) == 2, "two shards of 4 GiB at a time"
    assert num_streams([0, 10, 0], 0, 48) == 1


@pytest.mark.slow
def test_loaders_change_nothing_but_who_reads(tmp_path: Path) -> None:
    path = write_tars(tmp_path / "data", 8)

    def batches(loaders: int) -> list[dict[str, Any]]:
        samples = Samples(DataSettings(path=str(path)), str(path))
        items = TrainItems(
            samples,
            ItemShape(size=32, latent=(4, 4, 4)),
            transform=TransformSettings(),
            loss=LossSettings(),
            seed=3,
            global_batch=4,
        )
        rows = SampleRows(first=0, count=4, global_batch=4, step=1, steps=3)
        made = micro_batches(items, rows, micro_batch=3, loaders=loaders, pin=False)
        return [dict(batch) for batch, _ in made]

    plain = batches(0)
    assert [len(batch["caption"]) for batch in plain] == [3, 1, 3, 1]
    for one, other in zip(plain, batches(2), strict=True):
        assert one["caption"] == other["caption"]
        assert all((one[name] == other[name]).all() for name in ("pixels", "reference", "noise", "share"))
