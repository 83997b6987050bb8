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
from tests.train_samples import picture, write_tar, write_tars

SHARDS, EACH = 192, 20
SPANS = [(shard * EACH, (shard + 1) * EACH) for shard in range(SHARDS)]


def opened(
    ranks: int, loaders: int, global_batch: int, spans: list[tuple[int, int]] = SPANS, epochs: int = 2
) -> float:
    """Shards opened by all loaders, each holding only the live windows of its own rows, for each shard and epoch."""
    total, ends = 0, [end for _, end in spans]
    steps = epochs * ends[-1] // global_batch
    blocks = np.array_split(np.arange(global_batch), ranks * loaders)
    for rows in blocks:
        order = SampleOrder(spans, seed=1, global_batch=global_batch, window=4)
        live: dict[int, frozenset[int]] = {}
        for step in range(steps):
            for row in rows.tolist():
                position = step * global_batch + row
                window, _ = order.window_at(position)
                shards = frozenset(np.searchsorted(ends, window, side="right").tolist())
                stream = order.stream_of(position)
                if live.get(stream) != shards:
                    total += len(shards - frozenset().union(*live.values()))
                    live[stream] = shards
    return total / (len(spans) * epochs)


@pytest.mark.parametrize(("ranks", "loaders", "global_batch"), [(1, 4, 48), (4, 4, 48), (8, 8, 64)])
def test_each_shard_is_read_once_an_epoch(ranks: int, loaders: int, global_batch: int) -> None:
    # A shard that ends one epoch of a stream and begins the next stays open: a little less than 1.
    assert 0.98 <= opened(ranks, loaders, global_batch) <= 1.0


ODD = [(shard * 128, (shard + 1) * 128) for shard in range(63)]


@pytest.mark.parametrize(("ranks", "loaders"), [(1, 1), (1, 4), (4, 4)])
def test_where_readers_do_not_divide_the_shards_each_reads_one_more_at_most(ranks: int, loaders: int) -> None:
    readers = ranks * loaders
    assert 0.96 <= opened(ranks, loaders, 48, ODD) <= 1.01 + (readers - 1) / len(ODD)


@pytest.mark.parametrize("sizes", [[128] * 63, [1, 700, 3, 40, 40, 0, 9] * 9, [5] * 6])
def test_an_epoch_is_each_sample_once_in_any_sizes(sizes: list[int]) -> None:
    """Also where the batch divides neither samples nor shards, and where an epoch is shorter than a batch."""
    ends = np.cumsum(sizes).tolist()
    spans = [(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    def order() -> SampleOrder:
        return SampleOrder(spans, seed=5, global_batch=48, window=4)

    read, count = order(), ends[-1]
    epochs = [[read.number(epoch * count + at) for at in range(count)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    for start in (1, count // 2, count - 1, count, 2 * count + 7):
        resumed = order()
        some = range(start, min(start + 100, 3 * count))
        assert [resumed.number(at) for at in some] == [epochs[at // count][at % count] for at in some]


def test_nearly_all_samples_of_63_shards_are_seen_before_any_is_seen_twice() -> None:
    order = SampleOrder(ODD, seed=0, global_batch=48, window=4)
    assert order.streams == 48
    seen = {order.number(position) for position in range(8000)}
    assert len(seen) >= 0.99 * 63 * 128


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


@pytest.mark.parametrize("number", range(5))
def test_a_bad_sample_alone_in_its_part_of_a_shard_is_replaced(number: int, tmp_path: Path) -> None:
    """Shards of two and three samples are cut for two streams of 2.5 samples an epoch; windows are single shards."""
    for shard, numbers in enumerate((range(2), range(2, 5))):
        parts: dict[str, bytes] = {}
        for one in numbers:
            image, mask, caption = picture(one)
            parts[f"{one}.png"] = b"broken" if one == number else image
            parts |= {f"{one}.mask.png": mask, f"{one}.txt": caption.encode()}
        write_tar(tmp_path / f"{shard}.tar", parts)
    items = TrainItems(
        Samples(DataSettings(path=str(tmp_path), max_bad_share=0.2, shuffle_shards=1), str(tmp_path)),
        ItemShape(size=32, latent=(4, 4, 4)),
        transform=TransformSettings(),
        loss=LossSettings(),
        seed=0,
        global_batch=2,
    )
    assert items.order.streams == 2
    captions = {items.sample_at(position).caption for position in range(20)}
    assert captions == {f"a box number {one}" for one in range(5) if one != number}


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
