"""Counts of a run while it goes: on stderr for who watches, in status.json for who does not.

    outcomes of this run + those recorded before -> totals of the plan, rate, ETA

Knows counts and clocks; knows nothing of Ray.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
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
RECORD_INTERVAL_S = 10.0
"""Between two events "progress", which a timeline shows."""


class RunProgress:
    """Counts outcomes of one run, or of one stage of it, and reports them; use as a context manager.

    total: outcomes to come. before: outcomes of earlier runs that stand, by how; they are in the totals that are
    shown, and not in `counts`. unit: what has an outcome, in the plural.
    """

    def __init__(
        self,
        run: RunStatus,
        total: int,
        *,
        unit: str = "images",
        stage: str | None = None,
        before: Mapping[str, int] | None = None,
    ) -> None:
        self.run, self.total, self.unit, self.stage = run, total, unit, stage
        self.before = {name: (before or {}).get(name, 0) for name in COUNTED}
        self.counts = dict.fromkeys(COUNTED, 0)
        self._num_unrunnable = self._num_first = 0
        self._began = time.monotonic()
        self._ready = self._first_outcome = self._last_status = self._last_record = 0.0
        self._display = Display(f"{unit} of {stage}" if stage else unit, quiet=run.quiet)
        # Lines come by the clock too, since waiting for machines must not look like hanging.
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> RunProgress:
        self._began = time.monotonic()
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

    def ready(self) -> None:
        """The first worker has its model and begins; called again, it changes nothing."""
        self._ready = self._ready or time.monotonic()

    @property
    def remaining(self) -> int:
        """Of the total, those without an outcome."""
        return self.total - sum(self.counts.values())

    @property
    def rate(self) -> float:
        """Outcomes a second, without the time in which workers start: of the batches after the first one, whose
        warm-up is no part of a long run; from the first one alone until there are others."""
        if not self._first_outcome:
            return 0.0
        later = sum(self.counts.values()) - self._num_unrunnable - self._num_first
        if later > 0:
            return later / max(time.monotonic() - self._first_outcome, 1e-3)
        return self._num_first / max(self._first_outcome - (self._ready or self._began), 1e-3)

    def _tick(self) -> None:
        while not self._ended.wait(1.0):
            # A status that cannot be written now is written later; the run itself meets the same storage.
            with suppress(DreamCacheError):
                self._report()

    def _start_up(self) -> dict[str, Any]:
        """`startup_s` and `first_batch_s` of Status. A worker whose readiness nobody has reported was ready before
        its first outcome."""
        now = time.monotonic()
        ready = self._ready or self._first_outcome
        first_batch = (self._first_outcome or now) - ready if ready else None
        return {
            "startup_s": round((ready or now) - self._began, 1),
            "first_batch_s": None if first_batch is None else round(max(0.0, first_batch), 1),
        }

    def _report(self, *, force: bool = False) -> None:
        with self._lock:
            rate = self.rate
            counts = {name: self.before[name] + self.counts[name] for name in COUNTED}
            changes: dict[str, Any] = {
                "state": "running",
                "unit": self.unit,
                "stage": self.stage,
                "total": self.total + sum(self.before.values()),
                "counts": counts,
                "this_run": {"total": self.total, **self.counts},
                "rate": round(rate, 3),
                "rate_unit": f"{self.unit}/s",
                "eta_s": round(self.remaining / rate, 1) if rate else None,
                **self._start_up(),
            }
            moment = time.monotonic()
            if force or moment - self._last_status >= STATUS_INTERVAL_S:
                self._last_status = moment
                self.run.write(**changes)
            else:
                self.run.update(**changes)
            status = self.run.current
            if force or moment - self._last_record >= RECORD_INTERVAL_S:
                self._last_record = moment
                self.run.record.add(
                    "progress", urgent=False, counts=counts, total=status.total, rate=status.rate
                )
                self.run.record.line(f"{self.unit} {status.done}/{status.total}  {detail_of(status)}")
            self._display.show(status.done, status.total, detail_of(status), force=force)
