"""Counts of a run while it goes: on stderr for who watches, in status.json for who does not.

Knows counts and clocks; knows nothing of Ray.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.status import COUNTED
from jobs.running.display import Display
from jobs.running.status import RunStatus
from jobs.running.status_text import detail_of

STATUS_INTERVAL_S = 5.0
FIRST_BATCH_S = 0.5


class RunProgress:
    """Counts outcomes of one run, or of one stage of it, and reports them; use as a context manager.

    total: outcomes to come. unit: what has an outcome, in the plural.
    """

    def __init__(self, run: RunStatus, total: int, *, unit: str = "images", stage: str | None = None) -> None:
        self.run, self.total, self.unit, self.stage = run, total, unit, stage
        self.counts = dict.fromkeys(COUNTED, 0)
        self._num_unrunnable = self._num_first = 0
        self._first_outcome = self._last_status = 0.0
        self._display = Display(f"{unit} of {stage}" if stage else unit, quiet=run.quiet)
        # Lines come by the clock too, since waiting for machines must not look like hanging.
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> RunProgress:
        self._display.__enter__()
        self._report(force=True)
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        try:
            self._report(force=True)
        finally:
            self._display.__exit__(kind, error, trace)

    def add_unrunnable(self, count: int) -> None:
        """So many items failed at planning; the speed does not count them."""
        self.counts["failed"] += count
        self._num_unrunnable += count
        self._report()

    def add(self, outcome: str) -> None:
        """One more has ended: done, blocked or failed."""
        self.counts[outcome] += 1
        moment = time.monotonic()
        self._first_outcome = self._first_outcome or moment
        if moment - self._first_outcome < FIRST_BATCH_S:
            self._num_first += 1
        self._report()

    @property
    def remaining(self) -> int:
        """Of the total, those without an outcome."""
        return self.total - sum(self.counts.values())

    @property
    def rate(self) -> float:
        """Outcomes a second after the first batch, so that starting the workers does not spoil the estimate."""
        ended = sum(self.counts.values()) - self._num_unrunnable - self._num_first
        seconds = time.monotonic() - self._first_outcome if self._first_outcome else 0.0
        return ended / seconds if ended > 0 and seconds > 0 else 0.0

    def _tick(self) -> None:
        while not self._ended.wait(1.0):
            # A status that cannot be written now is written later; the run itself meets the same storage.
            with suppress(DreamCacheError):
                self._report()

    def _report(self, *, force: bool = False) -> None:
        with self._lock:
            rate = self.rate
            changes: dict[str, Any] = {
                "state": "running",
                "unit": self.unit,
                "stage": self.stage,
                "total": self.total,
                "counts": dict(self.counts),
                "rate": round(rate, 3),
                "rate_unit": f"{self.unit}/s",
                "eta_s": round(self.remaining / rate, 1) if rate else None,
            }
            moment = time.monotonic()
            if force or moment - self._last_status >= STATUS_INTERVAL_S:
                self._last_status = moment
                self.run.write(**changes)
            else:
                self.run.update(**changes)
            self._display.show(
                self.total - self.remaining, self.total, detail_of(self.run.current), force=force
            )
