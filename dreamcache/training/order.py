"""In which order samples are read, so that any number of workers sees the same batches and reads each shard once.

    epoch e = positions e * N to (e + 1) * N: each of the N samples once
    global batch of G rows = K streams of G / K rows      a stream reads shard after shard, a few (a window) at a time
    epoch of a stream: its part of the shuffled shards, of as many samples as it has positions, mixed in each window

K follows from data and settings alone, never from workers: rank r with its loaders reads the streams of its own rows,
so where K is a multiple of ranks x loaders no two processes open the same shard, unless the parts of their streams
meet in its middle. Knows numbers; opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ORDER = 0
"""The stream of random numbers that orders samples (see `dataset`)."""
FIRST_VERSION, VERSION = 1, 2
"""Of the order: the first one gave streams whole shards only, so some were read twice before others were read once."""
MOST_STREAMS = 256
OPEN_BYTES = 8 << 30
"""Of all shards that are open at a time, over all processes."""


def num_streams(counts: Sequence[int], shard_bytes: int, global_batch: int) -> int:
    """The largest divisor of the global batch for which there are shards, and memory to hold one for each stream.

    counts: samples in use of each shard; shard_bytes: of the largest, 0 where samples are read one by one.
    """
    most = min(MOST_STREAMS, sum(count > 0 for count in counts))
    if shard_bytes:
        most = min(most, max(1, OPEN_BYTES // shard_bytes))
    return max(divisor for divisor in range(1, max(1, most) + 1) if global_batch % divisor == 0)


def epoch_windows(
    spans: Sequence[tuple[int, int]],
    seed: int,
    epoch: int,
    window: int,
    stream: int = 0,
    parts: Sequence[int] = (),
) -> list[NDArray[np.int64]]:
    """The samples of one stream's epoch by number, window by window: `window` shards whose samples are mixed.

    spans: (first, end) of the sample numbers in use of each shard. parts: samples of each stream; () for one stream.
    """
    rng = np.random.default_rng([seed, ORDER, epoch])
    if parts:
        used = np.array([span for span in spans if span[0] < span[1]], np.int64)
        chosen = _part(rng.permutation(used), sum(parts[:stream]), parts[stream])
        # Neighbours read the shard in which their parts meet at the same time, so a process holds it once.
        chosen = chosen[::-1] if stream % 2 else chosen
        rng = np.random.default_rng([seed, ORDER, epoch, stream])
    else:
        chosen = [spans[shard] for shard in rng.permutation(len(spans))]
    windows = []
    for start in range(0, len(chosen), window):
        group = [np.arange(*span) for span in chosen[start : start + window]]
        windows.append(rng.permutation(np.concatenate(group)).astype(np.int64))
    return windows


def _part(spans: NDArray[np.int64], start: int, count: int) -> list[tuple[int, int]]:
    """`count` samples of the spans put one after the other, from the one at `start`: the spans that have them, cut."""
    first, end = spans.T
    shift = first - (np.cumsum(end - first) - (end - first))
    low, high = np.maximum(first, start + shift), np.minimum(end, start + count + shift)
    return list(zip(low[low < high].tolist(), high[low < high].tolist(), strict=True))


@dataclass(kw_only=True, slots=True)
class _Stream:
    """Where a stream is: the epoch it reads, and its samples."""

    epoch: int = -1
    windows: list[NDArray[np.int64]] = field(default_factory=list)
    ends: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


class SampleOrder:
    """The sample at every position of a training. Cheap where positions rise."""

    def __init__(
        self,
        spans: Sequence[tuple[int, int]],
        *,
        seed: int,
        global_batch: int,
        window: int,
        shard_bytes: int = 0,
    ) -> None:
        """spans: see `epoch_windows`. window: shards that are mixed at a time, over all streams."""
        self.spans, self.seed, self.global_batch = spans, seed, global_batch
        self.count = sum(end - first for first, end in spans if first < end)
        self.streams = num_streams([end - first for first, end in spans], shard_bytes, global_batch)
        self.rows = global_batch // self.streams
        self.window = max(1, window // self.streams)
        self._state = [_Stream() for _ in range(self.streams)]

    @property
    def version(self) -> int:
        """Of the order: a training that another one began is another training. One stream reads as ever."""
        return VERSION if self.streams > 1 else FIRST_VERSION

    def stream_of(self, position: int) -> int:
        return position % self.global_batch // self.rows

    def window_at(self, position: int) -> tuple[NDArray[np.int64], int]:
        """(samples of the window at a position, index in it). Equal windows are the same array while it is read."""
        stream, epoch = self.stream_of(position), position // self.count
        state = self._read(stream, epoch)
        offset = self._before(stream, position) - self._before(stream, epoch * self.count)
        number = int(np.searchsorted(state.ends, offset, side="right"))
        before = int(state.ends[number - 1]) if number else 0
        return state.windows[number], offset - before

    def number(self, position: int) -> int:
        """The sample's number."""
        window, index = self.window_at(position)
        return int(window[index])

    def _before(self, stream: int, position: int) -> int:
        """How many positions before this one are the stream's."""
        step, row = divmod(position, self.global_batch)
        return step * self.rows + min(max(row - stream * self.rows, 0), self.rows)

    def _read(self, stream: int, epoch: int) -> _Stream:
        state = self._state[stream]
        if state.epoch != epoch:
            start, end = epoch * self.count, (epoch + 1) * self.count
            parts = [self._before(one, end) - self._before(one, start) for one in range(self.streams)]
            state.windows = epoch_windows(
                self.spans, self.seed, epoch, self.window, stream, parts if self.streams > 1 else ()
            )
            state.epoch, state.ends = epoch, np.cumsum([len(window) for window in state.windows])
        return state
