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
from dreamcache.core.errors import StorageError
from dreamcache.storage.json_object import JsonObject
from workers.attempt_plan import OVER_SUBJECT, AttemptPlan, Quarantine, Units, quarantine
from workers.reserve import Answer, Reserve, SpendLimit
from workers.storage_retries import set_storage_retries
from workers.work_times import WorkTimes

MOST_EVENTS = 10_000
MOST_BATCH_EVENTS = 1_000
"""Batches of a run, by kind of worker, that have an event each; of all others the totals are reported."""
TIMES_EVERY_S = 10.0


@dataclass(kw_only=True, slots=True)
class _Attempt:
    """In flight. ends: the time from which an end is a timeout."""

    units: Units
    began: float
    ends: float
    is_denoised: bool = False


@dataclass(kw_only=True, slots=True)
class _Process:
    """A worker's. since: its first start, or the one after it was away; None while there is no process.

    restarts: how often Ray had started the worker again before it.
    """

    since: float | None
    gpus: float
    restarts: int


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
        self._in_flight: dict[str, list[_Attempt]] = {}
        self._suspects: dict[str, _Suspicion] = {}
        self._starts: dict[str, int] = {}
        self._joined: dict[str, _Process] = {}
        self._spent = 0.0
        self._refused: dict[str, str] = {}
        self._kinds: dict[str, dict[str, str]] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._num_events = 0
        self._times = WorkTimes(clock)
        self._times_due = clock() + TIMES_EVERY_S
        self._num_batches: Counter[str] = Counter()

    def join(
        self,
        worker: str,
        gpus: float = 0.0,
        kind: str = "worker",
        host: str = "",
        per_hour: float = 0.0,
        restarts: int = 0,
    ) -> int:
        """Records the start of a worker's process. Returns how often it died since it last finished an attempt.

        kind, host: for the events alone. per_hour: the price of its machine's share. restarts: see `leave`.
        """
        self._reserve.join(worker, per_hour)
        if worker in self._joined:
            self._lost(worker)
        self._settle(worker)
        self._kinds[worker] = {"kind": kind, "host": host}
        self._report("worker_started", worker=worker, **self._kinds[worker])
        self._starts[worker] = self._starts.get(worker, 0) + 1
        process = self._joined.setdefault(worker, _Process(since=None, gpus=gpus, restarts=restarts))
        process.since = self.clock() if process.since is None else process.since
        process.restarts = restarts
        return self._starts[worker] - 1

    def leave(self, worker: str, restarts: int | None = None) -> None:
        """The worker's process has ended: it costs nothing from now on, until it joins again.

        restarts: how often Ray has started it again, or is doing so: a process that began after as many of them is
        alive. None: it has ended for good. What it had in flight stays so until `join` or `settle` finds it.
        """
        process = self._joined.get(worker)
        if process is None or (restarts is not None and process.restarts >= restarts):
            return
        if process.since is not None:
            self._spent += (self.clock() - process.since) * process.gpus
            process.since = None
            self._reserve.leave(worker)
            self._times.lost(worker)
        if restarts is None and not self._in_flight.get(worker):
            del self._joined[worker]
            self._report("worker_ended", worker=worker, **self._kinds.get(worker, {}))

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
        num_suspects = 0
        while suspects:
            num_suspects += 1
            size = max(1, self._suspects[suspects[0]].size // 2)
            groups.append(tuple(suspects[:size]))
            suspects = suspects[size:]
        innocent = tuple(unit for unit in remaining if unit not in self._suspects)
        groups += [innocent] if innocent else []
        return AttemptPlan(groups=tuple(groups), quarantined=quarantined, suspects=num_suspects)

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

    def begin(self, worker: str, units: Units, batches: int = 1, beside: bool = False) -> None:
        """Records what the worker is about to try; an earlier attempt of it that never ended killed it.

        beside: while its earlier attempt is decoded.
        """
        if not beside:
            self._settle(worker)
        self._times.begin(worker)
        now = self.clock()
        attempt = _Attempt(units=units, began=now, ends=now + batches * self.policy.item_timeout_s)
        self._in_flight.setdefault(worker, []).append(attempt)

    def denoised(self, worker: str, units: Units) -> None:
        """The attempt is decoded now, beside the next one: two events, "batch" now and "decoded" at its end."""
        attempt = self._attempt_of(worker, units)
        if attempt is not None and not attempt.is_denoised:
            self._note_batch("batch", worker, attempt)
            attempt.is_denoised, attempt.began = True, self.clock()

    def end(self, worker: str, units: Units | None = None) -> None:
        """The worker is alive after its attempt: whatever the result, these units do not kill a process.

        units: of the attempt, where the worker may have several in flight.
        """
        attempt = self._attempt_of(worker, units)
        if attempt is not None:
            self._in_flight[worker].remove(attempt)
            for unit in attempt.units:
                self._suspects.pop(unit, None)
        self._starts[worker] = 1
        self._reserve.end(worker)
        if attempt is not None:
            self._note_batch("decoded" if attempt.is_denoised else "batch", worker, attempt)

    def _attempt_of(self, worker: str, units: Units | None) -> _Attempt | None:
        attempts = self._in_flight.get(worker, [])
        return next((one for one in attempts if units is None or one.units == units), None)

    def _note_batch(self, event: str, worker: str, attempt: _Attempt) -> None:
        """An event of a stage that has ended, and what the worker's times need."""
        if event == "batch" and not self._times.end(worker):
            return
        about = self._kinds.get(worker, {})
        number = f"{event} {about.get('kind', '')}"
        if attempt.units and self._num_batches[number] < MOST_BATCH_EVENTS:
            self._num_batches[number] += 1
            seconds = round(self.clock() - attempt.began, 3)
            facts = {"first": attempt.units[0], "units": len(attempt.units), "seconds": seconds}
            self._report(event, worker=worker, **facts, **about)

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
        units = sum(len(attempt.units) for attempt in self._in_flight.get(worker, []))
        self._report("worker_lost", worker=worker, in_flight=units, **self._kinds.get(worker, {}))

    def gpu_seconds(self) -> float:
        """Declared GPUs times the time in which each worker had a process."""
        now = self.clock()
        processes = self._joined.values()
        return self._spent + sum((now - one.since) * one.gpus for one in processes if one.since is not None)

    def refuse(self, cache_key: str, message: str) -> None:
        """Records cached features that a worker did not use; several workers may meet the same."""
        self._refused.setdefault(cache_key, message)

    def refused(self) -> dict[str, str]:
        """What was wrong with cached features that were not used, by their cache key."""
        return dict(self._refused)

    def _settle(self, worker: str) -> None:
        attempts = self._in_flight.pop(worker, [])
        for attempt in attempts:
            self._suspect(worker, attempt, is_alone=len(attempts) == 1 and len(attempt.units) == 1)

    def _suspect(self, worker: str, attempt: _Attempt, *, is_alone: bool) -> None:
        """is_alone: one unit, and nothing else in the process."""
        units = attempt.units
        code = "timeout" if self.clock() >= attempt.ends else "worker_died"
        self._report("retried", worker=worker, code=code, units=len(units), first=units[0] if units else None)
        for unit in units:
            suspicion = self._suspects.setdefault(unit, _Suspicion(size=len(units)))
            suspicion.size = min(suspicion.size, len(units))
            if is_alone:
                suspicion.alone.append(code)
                if len(suspicion.alone) == self.policy.max_attempts:
                    self._report("quarantined", unit=unit, code=code, attempts=len(suspicion.alone))
                    self._starts[worker] = 1  # a unit is quarantined: the worker itself is not to blame

    def _quarantine(self, unit: str) -> Quarantine | None:
        suspicion = self._suspects.get(unit)
        if suspicion is None or len(suspicion.alone) < self.policy.max_attempts:
            return None
        return quarantine(suspicion.alone[-1], len(suspicion.alone), self.policy.item_timeout_s)
