"""In which order samples are read, so that any number of workers sees the same batches and reads each shard once.

    global batch of G rows = K streams of G / K rows      a stream reads whole shards, a few (a window) at a time
    epoch of a stream: its share of the shuffled shards, samples mixed within each window

K follows from data and settings alone, never from workers: rank r with its loaders reads the streams of its own rows,
so where K is a multiple of ranks x loaders no two processes open the same shard. Knows numbers; opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ORDER = 0
"""The stream of random numbers that orders samples (see `dataset`)."""
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
    spans: Sequence[tuple[int, int]], seed: int, epoch: int, window: int, stream: int = 0, streams: int = 1
) -> list[NDArray[np.int64]]:
    """The samples of one stream's epoch by number, window by window: `window` shards whose samples are mixed.

    spans: (first, end) of the sample numbers in use of each shard.
    """
    rng = np.random.default_rng([seed, ORDER, epoch])
    if streams > 1:  # a stream without any sample would have no epoch
        shards = rng.permutation([shard for shard, (first, end) in enumerate(spans) if first < end])
        shards, rng = shards[stream::streams], np.random.default_rng([seed, ORDER, epoch, stream])
    else:
        shards = rng.permutation(len(spans))
    windows = []
    for start in range(0, len(shards), window):
        group = [np.arange(*spans[shard]) for shard in shards[start : start + window]]
        windows.append(rng.permutation(np.concatenate(group)).astype(np.int64))
    return windows


@dataclass(kw_only=True, slots=True)
class _Stream:
    """Where a stream is: the epoch it reads, and its samples; starts[e] is its position at the start of epoch e."""

    starts: list[int] = field(default_factory=lambda: [0])
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
        self.streams = num_streams([end - first for first, end in spans], shard_bytes, global_batch)
        self.rows = global_batch // self.streams
        self.window = max(1, window // self.streams)
        self._state = [_Stream() for _ in range(self.streams)]

    def stream_of(self, position: int) -> int:
        return position % self.global_batch // self.rows

    def window_at(self, position: int) -> tuple[NDArray[np.int64], int]:
        """(samples of the window at a position, index in it). Equal windows are the same array while it is read."""
        step, row = divmod(position, self.global_batch)
        stream = row // self.rows
        index = step * self.rows + row % self.rows
        state = self._state[stream]
        epoch = self._epoch_at(stream, index)
        self._read(stream, epoch)
        offset = index - state.starts[epoch]
        number = int(np.searchsorted(state.ends, offset, side="right"))
        before = int(state.ends[number - 1]) if number else 0
        return state.windows[number], offset - before

    def number(self, position: int) -> int:
        """The sample's number."""
        window, index = self.window_at(position)
        return int(window[index])

    def _read(self, stream: int, epoch: int) -> None:
        state = self._state[stream]
        if state.epoch != epoch:
            state.windows = epoch_windows(self.spans, self.seed, epoch, self.window, stream, self.streams)
            state.epoch, state.ends = epoch, np.cumsum([len(window) for window in state.windows])

    def _epoch_at(self, stream: int, index: int) -> int:
        state = self._state[stream]
        while state.starts[-1] <= index:
            epoch = len(state.starts) - 1
            if self.streams == 1:
                total = sum(end - first for first, end in self.spans if end > first)
            else:
                self._read(stream, epoch)
                total = int(state.ends[-1])
            state.starts.append(state.starts[-1] + total)
        return int(np.searchsorted(state.starts, index, side="right")) - 1
