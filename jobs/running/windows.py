"""The plan's windows on their way through a pipeline: some rows are in flight, the others are not read yet.

    tables of the plan --due--> in flight --ended--> done;   the pipeline was lost --restart--> due again

However long the plan, about two windows are in memory: the next one begins when as much as one has ended. Workers
therefore meet no edge between two windows. Knows rows and their items; knows nothing of Ray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

Unrecorded = Callable[[pa.Table], pa.Table]
"""Those of the rows that have no terminal record of this run."""


@dataclass(kw_only=True, slots=True)
class _Window:
    """waiting: items without an outcome. unrecorded: as of the window's begin."""

    rows: pa.Table
    waiting: set[str]
    unrecorded: Unrecorded


class Windows:
    """What is to be generated, a window after the other. Not for several threads."""

    def __init__(
        self,
        tables: Iterable[pa.Table],
        num_rows: int,
        *,
        window_rows: int,
        look: Callable[[], Unrecorded],
    ) -> None:
        """tables: PLANNED, of window_rows each but the last; the next one is read when there is room for it.

        num_rows: of all tables. look: called as a window begins; see `Unrecorded`.
        """
        self._tables = iter(tables)
        self._num_unread = num_rows
        self._window_rows = window_rows
        self._look = look
        self._again: deque[_Window] = deque()
        self._in_flight: list[_Window] = []

    @property
    def num_rows(self) -> int:
        """Rows without an outcome."""
        return self._num_unread + sum(len(window.waiting) for window in (*self._again, *self._in_flight))

    @property
    def num_to_come(self) -> int:
        """Windows that `due` has not handed out."""
        return len(self._again) + -(-self._num_unread // self._window_rows)

    def due(self) -> Iterator[pa.Table]:
        """The windows that begin now; none while more than a window's rows are in flight."""
        while sum(len(window.waiting) for window in self._in_flight) <= self._window_rows:
            window = self._again.popleft() if self._again else self._read()
            if window is None:
                return
            self._in_flight.append(window)
            yield window.rows

    def _read(self) -> _Window | None:
        rows = next(self._tables, None) if self._num_unread > 0 else None
        if rows is None:
            self._num_unread = 0
            return None
        self._num_unread = max(0, self._num_unread - rows.num_rows)
        return _Window(rows=rows, waiting=set(rows["item_id"].to_pylist()), unrecorded=self._look())

    def ended(self, item_ids: Iterable[str]) -> None:
        """These items have an outcome."""
        for item_id in item_ids:
            for window in self._in_flight:
                if item_id in window.waiting:
                    window.waiting.remove(item_id)
                    break
        self._in_flight = [window for window in self._in_flight if window.waiting]

    def restart(self) -> None:
        """The pipeline was lost: what was in flight and has no record is due again, before all other rows."""
        lost, self._in_flight = self._in_flight, []
        for window in (*lost, *self._again):
            rows = window.unrecorded(window.rows)
            window.rows, window.waiting = rows, set(rows["item_id"].to_pylist())
        self._again = deque(window for window in (*lost, *self._again) if window.waiting)
