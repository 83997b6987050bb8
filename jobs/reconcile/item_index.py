"""Finds planned items by id: in which part of the plan an item is, at 20 bytes for each item.

    plan parts --> two sorted columns of 64 bits, the first half of each id, and the number of its part

Knows ids as hex of a sha256; ids of another form are never planned.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.planning.plan_files import PlanFiles

ID_DIGITS = 64
USED_DIGITS = 32
INVALID = 255
NOT_PLANNED = -1

_NIBBLES = np.full(256, INVALID, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)


class PlanIndex:
    """The items of a plan. 128 bits of a sha256 stand for the whole."""

    def __init__(self, files: PlanFiles) -> None:
        num = files.num_rows
        self._high, self._low = np.empty(num, np.uint64), np.empty(num, np.uint64)
        self._part = np.empty(num, np.int32)
        start = 0
        for part, table in enumerate(files.tables(["item_id"])):
            end = start + table.num_rows
            self._high[start:end], self._low[start:end] = halves(table["item_id"])
            self._part[start:end] = part
            start = end
        order = np.argsort(self._high)
        for name in ("_high", "_low", "_part"):  # one after the other, so that little is there twice
            setattr(self, name, getattr(self, name)[order])

    def parts_of(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int32]:
        """For ids as `halves`: the number of the plan's part that has the item, or NOT_PLANNED."""
        parts = np.full(len(high), NOT_PLANNED, dtype=np.int32)
        position = np.searchsorted(self._high, high)
        open_rows = np.arange(len(high))
        while len(open_rows):  # more than once only for items that share 64 bits
            open_rows = open_rows[position[open_rows] < len(self._high)]
            open_rows = open_rows[self._high[position[open_rows]] == high[open_rows]]
            same = self._low[position[open_rows]] == low[open_rows]
            parts[open_rows[same]] = self._part[position[open_rows[same]]]
            open_rows = open_rows[~same]
            position[open_rows] += 1
        return parts

    def has(self, item_ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Which of these ids are planned."""
        planned: NDArray[np.bool_] = self.parts_of(*halves(item_ids)) != NOT_PLANNED
        return planned


def halves(item_ids: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first and second 64 bits of each id; zeros for a text that is no id."""
    ids = pa.chunked_array([item_ids]) if isinstance(item_ids, pa.Array) else item_ids
    array = pa.concat_arrays([pa.array([], pa.string()), *ids.chunks])
    whole = pc.equal(pc.binary_length(array), ID_DIGITS).to_numpy(zero_copy_only=False)
    words = np.zeros((len(array), 2), dtype=np.uint64)
    if len(array) and whole.any():
        # Taken into an array of their own, the ids lie one after the other from the beginning.
        packed = array.take(pa.array(np.flatnonzero(whole)))
        text = np.frombuffer(packed.buffers()[2], dtype=np.uint8, count=len(packed) * ID_DIGITS)
        digits = _NIBBLES[text.reshape(-1, ID_DIGITS)[:, :USED_DIGITS]]
        data = (digits[:, 0::2] << 4) | digits[:, 1::2]
        data[(digits == INVALID).any(axis=1)] = 0
        words[whole] = np.ascontiguousarray(data).view(">u8")
    return np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
