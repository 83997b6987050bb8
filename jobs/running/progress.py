"""Progress while a job runs: a rich bar on a terminal, one line per interval elsewhere, status.json always.

Knows counts and clocks; knows nothing of Ray.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from dreamcache.core.errors import DreamCacheError
from jobs.units import clock

LINE_INTERVAL_S = 5.0
STATUS_INTERVAL_S = 5.0
FIRST_BATCH_S = 0.5


class JobProgress:
    """Counts terminal records of one run and tells of them; use as a context manager."""

    def __init__(
        self,
        total: int,
        on_status: Callable[[dict[str, Any]], None],
        quiet: bool = False,
        what: str = "images",
    ) -> None:
        self.total, self.what = total, what
        self.on_status = on_status
        self.counts = {"done": 0, "blocked": 0, "failed": 0}
        self.num_unable = self.num_first = 0
        self.started = self.first_image = 0.0
        self.last_line = self.last_status = 0.0
        self.quiet = quiet
        self.console = Console(stderr=True)
        self.bar: Progress | None = None
        # Lines come by the clock too, since waiting for machines must not look like hanging.
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> JobProgress:
        self.started = time.monotonic()
        if self.console.is_terminal and not self.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total, detail="starting workers")
        self._tell(force=True)
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        self._tell(force=True)
        if self.bar is not None:
            self.bar.stop()

    def add_unable(self, count: int) -> None:
        """So many items failed at planning; they say nothing of the speed."""
        self.counts["failed"] += count
        self.num_unable += count
        self._tell()

    def add(self, status: str) -> None:
        """One more item has its terminal record."""
        self.counts[status] += 1
        now = time.monotonic()
        self.first_image = self.first_image or now
        if now - self.first_image < FIRST_BATCH_S:
            self.num_first += 1
        self._tell()

    @property
    def left(self) -> int:
        return self.total - sum(self.counts.values())

    @property
    def images_per_s(self) -> float:
        """After the first batch, so that starting the workers does not spoil the estimate."""
        ended = sum(self.counts.values()) - self.num_unable - self.num_first
        spent = time.monotonic() - self.first_image if self.first_image else 0.0
        return ended / spent if ended > 0 and spent > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        rate = self.images_per_s
        return {
            **self.counts,
            "left": self.left,
            "total": self.total,
            "elapsed_s": round(time.monotonic() - self.started, 1),
            "images_per_s": round(rate, 3),
            "eta_s": round(self.left / rate, 1) if rate else None,
        }

    def _tick(self) -> None:
        while not self._ended.wait(1.0):
            # A status that cannot be written now is written later; the run itself meets the same storage.
            with suppress(DreamCacheError):
                self._tell()

    def _tell(self, force: bool = False) -> None:
        with self._lock:
            self._tell_now(force)

    def _tell_now(self, force: bool) -> None:
        now = time.monotonic()
        if force or now - self.last_status >= STATUS_INTERVAL_S:
            self.last_status = now
            self.on_status(self.as_dict())
        if self.bar is not None:
            self.bar.update(self.task, completed=sum(self.counts.values()), detail=self._detail())
        elif not self.quiet and (force or now - self.last_line >= LINE_INTERVAL_S):
            self.last_line = now
            print(
                f"{self.what} {sum(self.counts.values())}/{self.total}  {self._detail()}",
                file=sys.stderr,
                flush=True,
            )

    def _detail(self) -> str:
        rate = self.images_per_s
        eta = f"ETA {clock(self.left / rate)}" if rate and self.left else ("ETA -" if self.left else "ended")
        unit = self.what.split()[0]
        failed = self.counts["failed"] + self.counts["blocked"]
        return f"done {self.counts['done']}  failed {failed}  left {self.left}  {rate:.1f} {unit}/s  {eta}"
