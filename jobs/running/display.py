"""Progress on stderr: a bar on a terminal, a line now and then elsewhere, nothing when quiet.

Knows terminals and clocks; knows nothing of what is counted.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

LINE_INTERVAL_S = 5.0


class Display:
    """Use as a context manager; `show` as often as there is news. unit: what is counted."""

    def __init__(self, unit: str, *, quiet: bool) -> None:
        self._unit, self._quiet = unit, quiet
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
            self._task = self._bar.add_task(self._unit, total=None, detail="starting workers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, ended: int, total: int, detail: str, *, force: bool = False) -> None:
        """E.g. "images 120/400  done 118  failed 2": the bar moves; a line waits for its turn unless forced."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=ended, total=total, detail=detail)
            return
        moment = time.monotonic()
        if not self._quiet and (force or moment - self._last_line >= LINE_INTERVAL_S):
            self._last_line = moment
            print(f"{self._unit} {ended}/{total}  {detail}", file=sys.stderr, flush=True)
