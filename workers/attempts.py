"""Which items were in flight when a process died: how an item that kills its worker is found by halving.

    Watch (in a worker) --begin, end--> AttemptBook (one actor, beside the driver)

A worker reports what it is about to try before it begins. If the process dies, Ray starts it again under the same
name and gives it the same batch; the book then sees an attempt that began and never ended, and has the worker try
those items in halves. An item that was alone and killed its process `max_attempts` times is quarantined: a value,
like any other failure. Workers that do not die are not disturbed. Costs one short call per batch, or photo.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.storage.json_object import JsonObject
from workers.reserve import Answer, Reserve, SpendLimit
from workers.storage_retries import set_storage_retries
from workers.work_times import WorkTimes

MOST_EVENTS = 10_000
MOST_BATCH_EVENTS = 1_000
"""Batches of a run, by kind of worker, that have an event each; of all others the totals are reported."""
TIMES_EVERY_S = 10.0

Units = tuple[str, ...]
"""What is tried at once: item ids of a batch, or the cache key of one photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine:
    """Why a unit is not tried again: `code` is worker_died or timeout. attempts: those it had alone."""

    code: str
    reason: str
    attempts: int

    def error(self, where: str) -> DreamCacheError:
        return DreamCacheError(f"{where}: {self.reason}", code=self.code)


OVER_SUBJECT = Quarantine(
    code="subject_budget",
    reason=(
        "its subject has cost limits.max_cost_per_subject, or would with this image; raise the limit, then retry "
        "with --reason subject_budget"
    ),
    attempts=1,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptPlan:
    """What to try one after the other, the most suspect first, and what not to try at all."""

    groups: tuple[Units, ...]
    quarantined: dict[str, Quarantine]


@dataclass(kw_only=True, slots=True)
class _Suspicion:
    """Of one unit: size of the smallest group it died in, and how each attempt ended in which it was alone."""

    size: int
    alone: list[str] = field(default_factory=list)


class AttemptBook:
    """Attempts begun and not ended, by worker. Plain Python; the engine starts it as a Ray actor.

    clock: seconds; a parameter so that tests can move the time. limit: of money, see `reserve`.
    """

    def __init__(
        self,
        policy: FailurePolicy,
        clock: Callable[[], float] = time.monotonic,
        limit: SpendLimit | None = None,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self._reserve = Reserve(limit, clock)
        if limit is not None:
            # Reservations wait for the storage as every other write does.
            set_storage_retries(policy)
        self._is_exhausted = False
        self._in_flight: dict[str, tuple[Units, float]] = {}  # with the time from which an end is a timeout
        self._suspects: dict[str, _Suspicion] = {}
        self._starts: dict[str, int] = {}
        self._joined: dict[str, tuple[float, float]] = {}
        self._spent = 0.0
        self._refused: dict[str, str] = {}
        self._kinds: dict[str, dict[str, str]] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._num_events = 0
        self._times = WorkTimes(clock)
        self._times_due = clock() + TIMES_EVERY_S
        self._num_batches: Counter[str] = Counter()

    def join(
        self, worker: str, gpus: float = 0.0, kind: str = "worker", host: str = "", per_hour: float = 0.0
    ) -> int:
        """Records the start of a worker's process. Returns how often it died since it last finished an attempt.

        kind, host: for the events alone. per_hour: the price of its machine's share.
        """
        self._reserve.join(worker, per_hour)
        if worker in self._joined:
            self._lost(worker)
        self._settle(worker)
        self._kinds[worker] = {"kind": kind, "host": host}
        self._report("worker_started", worker=worker, **self._kinds[worker])
        self._starts[worker] = self._starts.get(worker, 0) + 1
        self._joined.setdefault(worker, (self.clock(), gpus))
        return self._starts[worker] - 1

    def ready(self, worker: str) -> None:
        """The worker's model is loaded: its next step is the first batch."""
        self._times.ready(worker, self._kinds.get(worker, {}).get("kind", "worker"))
        self._report("worker_ready", worker=worker, **self._kinds.get(worker, {}))

    def events(self, after: int) -> list[JsonObject]:
        """What happened to workers, oldest first, without the events up to number `after`; the newest are kept."""
        with suppress(StorageError):  # the next reservation meets it too
            self._reserve.keep_reserved()
        if self._reserve.is_over:
            self._exhausted("")
        if self.clock() >= self._times_due:
            self.report_times()
        return [event for event in self._events if event["number"] > after]

    def report_times(self) -> None:
        """An event "times" for each kind of workers: see `work_times.Totals`. `events` does so now and then."""
        self._times_due = self.clock() + TIMES_EVERY_S
        for kind, totals in sorted(self._times.totals().items()):
            self._report("times", kind=kind, **{n: round(v, 3) for n, v in asdict(totals).items()})

    def _report(self, event: str, **facts: Any) -> None:
        self._num_events += 1
        self._events.append({"number": self._num_events, "at": time.time(), "event": event, **facts})

    def sort(self, units: Sequence[str], subjects: Sequence[str] = ()) -> AttemptPlan:
        """In which groups to try units, by what is known of them. subjects: of the units, whose money is limited."""
        quarantined = {unit: reason for unit in units if (reason := self._quarantine(unit)) is not None}
        over = zip(units, self._reserve.over_subject(subjects), strict=False)
        quarantined |= {unit: OVER_SUBJECT for unit, is_over in over if is_over and unit not in quarantined}
        remaining = [unit for unit in units if unit not in quarantined]
        suspects = sorted((u for u in remaining if u in self._suspects), key=lambda u: self._suspects[u].size)
        groups: list[Units] = []
        while suspects:
            size = max(1, self._suspects[suspects[0]].size // 2)
            groups.append(tuple(suspects[:size]))
            suspects = suspects[size:]
        innocent = tuple(unit for unit in remaining if unit not in self._suspects)
        return AttemptPlan(groups=(*groups, innocent) if innocent else tuple(groups), quarantined=quarantined)

    def may_begin(self, worker: str, subjects: Sequence[str] = (), batches: int = 1) -> Answer:
        """See `Reserve.may_begin`. The first answer "exhausted" is an event, by which the run ends."""
        answer = self._reserve.may_begin(worker, subjects, batches * self.policy.item_timeout_s)
        if answer == "exhausted":
            self._exhausted(worker)
        return answer

    def _exhausted(self, worker: str) -> None:
        if not self._is_exhausted:
            self._is_exhausted = True
            self._report("budget_exhausted", worker=worker, cost=round(self._reserve.cost(), 6))

    def cost(self) -> float:
        """Money that the workers have cost so far."""
        return self._reserve.cost()

    def begin(self, worker: str, units: Units, batches: int = 1) -> None:
        """Records what the worker is about to try; an earlier attempt of it that never ended killed it."""
        self._settle(worker)
        self._times.begin(worker)
        self._in_flight[worker] = (units, self.clock() + batches * self.policy.item_timeout_s)

    def end(self, worker: str) -> None:
        """The worker is alive after its attempt: whatever the result, these units do not kill a process."""
        units, _ = self._in_flight.pop(worker, ((), 0.0))
        for unit in units:
            self._suspects.pop(unit, None)
        self._starts[worker] = 1
        self._reserve.end(worker)
        seconds = self._times.end(worker)
        about = self._kinds.get(worker, {})
        kind = about.get("kind", "")
        if seconds is not None and units and self._num_batches[kind] < MOST_BATCH_EVENTS:
            self._num_batches[kind] += 1
            facts = {"first": units[0], "units": len(units), "seconds": round(seconds, 3)}
            self._report("batch", worker=worker, **facts, **about)

    def settle(self) -> None:
        """Every worker is gone, as when a pipeline has broken: all that was in flight is suspect."""
        for worker in self._joined:
            self._lost(worker)
        for worker in list(self._in_flight):
            self._settle(worker)
        self._spent = self.gpu_seconds()
        self._reserve.settle()
        self._joined.clear()

    def _lost(self, worker: str) -> None:
        self._times.lost(worker)
        units = len(self._in_flight[worker][0]) if worker in self._in_flight else 0
        self._report("worker_lost", worker=worker, in_flight=units, **self._kinds.get(worker, {}))

    def gpu_seconds(self) -> float:
        """Declared GPUs times the time since each worker first joined."""
        now = self.clock()
        return self._spent + sum((now - since) * gpus for since, gpus in self._joined.values())

    def refuse(self, cache_key: str, message: str) -> None:
        """Records cached features that a worker did not use; several workers may meet the same."""
        self._refused.setdefault(cache_key, message)

    def refused(self) -> dict[str, str]:
        """What was wrong with cached features that were not used, by their cache key."""
        return dict(self._refused)

    def _settle(self, worker: str) -> None:
        if worker not in self._in_flight:
            return
        units, deadline = self._in_flight.pop(worker)
        timed_out = self.clock() >= deadline
        code = "timeout" if timed_out else "worker_died"
        self._report("retried", worker=worker, code=code, units=len(units), first=units[0] if units else None)
        for unit in units:
            suspicion = self._suspects.setdefault(unit, _Suspicion(size=len(units)))
            suspicion.size = min(suspicion.size, len(units))
            if len(units) == 1:
                suspicion.alone.append(code)
                if len(suspicion.alone) == self.policy.max_attempts:
                    self._report("quarantined", unit=unit, code=code, attempts=len(suspicion.alone))
                    self._starts[worker] = 1  # a unit is quarantined: the worker itself is not to blame

    def _quarantine(self, unit: str) -> Quarantine | None:
        suspicion = self._suspects.get(unit)
        if suspicion is None or len(suspicion.alone) < self.policy.max_attempts:
            return None
        code, times = suspicion.alone[-1], len(suspicion.alone)
        if code == "timeout":
            reason = (
                f"took more than failures.item_timeout_s ({self.policy.item_timeout_s:g} s) {times} times, alone; "
                f"see the stack in Ray's worker logs, or raise it"
            )
        else:
            reason = (
                f"its worker's process died {times} times while it was the only one in flight (crashed, or killed "
                f"for its memory); see Ray's worker logs, then retry or drop the row"
            )
        return Quarantine(code=code, attempts=times, reason=reason)
