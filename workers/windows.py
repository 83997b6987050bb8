"""Windows of the plan between the driver, which puts them in, and the tasks that feed the pipeline with them.

    driver --put--> WindowShelf (one actor, beside the driver) --take--> read_batches (a task a window) --> blocks

Plain Python and Arrow; Ray starts both. Knows nothing of what a window holds, nor of when the next one is due.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

POLL_S = 0.2


class WindowShelf:
    """Windows by number, from 0, as `batches.packed`; each stays until the one after it is taken, so that a task that
    is tried again finds the same window. The engine starts it as a Ray actor."""

    def __init__(self) -> None:
        self._windows: dict[int, pa.Table] = {}
        self._next_taken = 0
        self._end: int | None = None

    def put(self, number: int, batches: pa.Table) -> None:
        """Makes a window available."""
        self._windows[number] = batches

    def end(self, number: int) -> None:
        """No window with this number or a higher one comes."""
        self._end = number

    def take(self, number: int) -> pa.Table | None:
        """The window; None where it is not there yet. An empty table, with no columns, after the end.

        ValueError for one that is there no more: its task was thought done, and is tried again because what it
        returned was lost.
        """
        if self._end is not None and number >= self._end:
            return pa.table({})
        if number < self._next_taken:
            raise ValueError(
                f"window {number} was handed over and dropped, {self._next_taken} is the first one kept"
            )
        if number in self._windows:
            for before in range(self._next_taken, number):
                self._windows.pop(before, None)
            self._next_taken = number
        return self._windows.get(number)


def read_batches(shelf: Any, number: int) -> Iterator[pa.Table]:
    """The batches of a window, a block for each; waits until the window is there. shelf: the actor."""
    import ray

    while (batches := ray.get(shelf.take.remote(number))) is None:
        time.sleep(POLL_S)
    for row in range(batches.num_rows):
        # A slice would carry the whole window with it wherever its buffers are counted.
        yield batches.take(pa.array([row]))
