"""How long workers were ready, and for how much of that time they were at a batch: who waited for whom, by kind.

    ready, begin, end, lost of each worker --> totals of all workers of a kind since the run began

Plain Python, kept by the attempt book. Knows clocks; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Seconds since the run began, summed over the workers of a kind that were ever ready. busy_s: at one batch or
    more."""

    workers: int = 0
    batches: int = 0
    ready_s: float = 0.0
    busy_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class _Worker:
    kind: str
    ready_at: float
    in_flight: int = 0
    began_at: float = 0.0
    """When it was without a batch last."""


class WorkTimes:
    """clock: seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: dict[str, _Worker] = {}
        self._past: dict[str, Totals] = {}

    def ready(self, worker: str, kind: str) -> None:
        """The worker's model is loaded, for the first time or again."""
        self.lost(worker)
        self._ready[worker] = _Worker(kind=kind, ready_at=self._clock())

    def begin(self, worker: str) -> None:
        """The worker begins a batch. Of a worker that was never ready nothing is counted."""
        state = self._ready.get(worker)
        if state is not None:
            state.began_at = state.began_at if state.in_flight else self._clock()
            state.in_flight += 1

    def end(self, worker: str) -> bool:
        """The worker has ended a batch. Whether one was known to be in flight."""
        state = self._ready.get(worker)
        if state is None or not state.in_flight:
            return False
        state.in_flight -= 1
        busy_s = 0.0 if state.in_flight else self._clock() - state.began_at
        past = self._past.get(state.kind, Totals())
        self._past[state.kind] = replace(past, batches=past.batches + 1, busy_s=past.busy_s + busy_s)
        return True

    def lost(self, worker: str) -> None:
        """The worker's process is gone; a batch in flight is not counted as work."""
        state = self._ready.pop(worker, None)
        if state is not None:
            past = self._past.get(state.kind, Totals())
            ready_s = past.ready_s + self._clock() - state.ready_at
            self._past[state.kind] = replace(past, workers=past.workers + 1, ready_s=ready_s)

    def totals(self) -> dict[str, Totals]:
        """As of now, by kind; a batch in flight counts up to now."""
        now, totals = self._clock(), dict(self._past)
        for state in self._ready.values():
            past = totals.get(state.kind, Totals())
            busy = now - state.began_at if state.in_flight else 0.0
            totals[state.kind] = replace(
                past,
                workers=past.workers + 1,
                ready_s=past.ready_s + now - state.ready_at,
                busy_s=past.busy_s + busy,
            )
        return totals
