"""Who had what in hand when its process died: how an item that kills its worker is found by halving.

    Watch (in a worker) --begin, end--> AttemptBook (one actor, beside the driver)

A worker writes down what it takes in hand before it begins. If the process dies, Ray starts it again under the same
name and gives it the same batch; the book then sees an attempt that began and never ended, and tells the worker to
try those items in halves. An item that stood alone and killed its process `max_attempts` times is condemned: a
value, like any other failure. Workers that do not die are not disturbed. Costs one short call per batch, or photo.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.errors import DreamCacheError

Units = tuple[str, ...]
"""What is taken in hand at once: item ids of a batch, or the cache key of one photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A unit that is not tried again: `code` is worker_died or timeout."""

    code: str
    reason: str
    attempts: int

    def error(self, where: str) -> DreamCacheError:
        return DreamCacheError(f"{where}: {self.reason}", code=self.code)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What to try one after the other, the most suspect first, and what not to try at all."""

    groups: tuple[Units, ...]
    condemned: dict[str, Verdict]


@dataclass(kw_only=True, slots=True)
class _Suspicion:
    """Of one unit: size of the smallest group it died in, and how it ended each time it stood alone."""

    size: int
    alone: list[str] = field(default_factory=list)


class AttemptBook:
    """Attempts begun and not ended, by worker. Plain Python; the engine makes it a Ray actor.

    clock: seconds; a parameter so that time-outs can be reasoned about.
    """

    def __init__(self, policy: FailurePolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self.clock = clock
        self._open: dict[str, tuple[Units, float]] = {}  # until when an end means no time-out
        self._suspects: dict[str, _Suspicion] = {}
        self._starts: dict[str, int] = {}
        self._joined: dict[str, tuple[float, float]] = {}
        self._spent = 0.0

    def join(self, worker: str, gpus: float = 0.0) -> int:
        """A worker's process starts. Returns how often it has died since it last got anything done."""
        self._settle(worker)
        self._starts[worker] = self._starts.get(worker, 0) + 1
        self._joined.setdefault(worker, (self.clock(), gpus))
        return self._starts[worker] - 1

    def sort(self, units: Sequence[str]) -> Work:
        """In which groups to try units, by what is known of them."""
        condemned = {unit: verdict for unit in units if (verdict := self._verdict(unit)) is not None}
        left = [unit for unit in units if unit not in condemned]
        suspects = sorted((u for u in left if u in self._suspects), key=lambda u: self._suspects[u].size)
        groups: list[Units] = []
        while suspects:
            size = max(1, self._suspects[suspects[0]].size // 2)
            groups.append(tuple(suspects[:size]))
            suspects = suspects[size:]
        innocent = tuple(unit for unit in left if unit not in self._suspects)
        return Work(groups=(*groups, innocent) if innocent else tuple(groups), condemned=condemned)

    def begin(self, worker: str, units: Units, batches: int = 1) -> None:
        """The worker takes units in hand; what it had before without an end, it died of."""
        self._settle(worker)
        self._open[worker] = (units, self.clock() + batches * self.policy.item_timeout_s)

    def end(self, worker: str) -> None:
        """The worker is alive after its attempt: whatever came out, its units kill nobody."""
        units, _ = self._open.pop(worker, ((), 0.0))
        for unit in units:
            self._suspects.pop(unit, None)
        self._starts[worker] = 1

    def settle(self) -> None:
        """Every worker is gone, as when a pipeline has broken: what was in hand is suspect."""
        for worker in list(self._open):
            self._settle(worker)
        self._spent = self.gpu_seconds()
        self._joined.clear()

    def gpu_seconds(self) -> float:
        """Declared GPUs times the time since each worker first joined."""
        now = self.clock()
        return self._spent + sum((now - since) * gpus for since, gpus in self._joined.values())

    def _settle(self, worker: str) -> None:
        if worker not in self._open:
            return
        units, deadline = self._open.pop(worker)
        hung = self.clock() >= deadline
        for unit in units:
            known = self._suspects.setdefault(unit, _Suspicion(size=len(units)))
            known.size = min(known.size, len(units))
            if len(units) == 1:
                known.alone.append("timeout" if hung else "worker_died")
                if len(known.alone) == self.policy.max_attempts:
                    self._starts[worker] = 1  # something is settled: the worker itself is not to blame

    def _verdict(self, unit: str) -> Verdict | None:
        known = self._suspects.get(unit)
        if known is None or len(known.alone) < self.policy.max_attempts:
            return None
        code, times = known.alone[-1], len(known.alone)
        if code == "timeout":
            reason = f"took more than failures.item_timeout_s ({self.policy.item_timeout_s:g} s) {times} times, alone"
            return Verdict(
                code=code, attempts=times, reason=f"{reason}; see the stack in Ray's worker logs, or raise it"
            )
        reason = f"its worker's process died {times} times while it stood alone (crashed, or killed for its memory)"
        return Verdict(
            code=code, attempts=times, reason=f"{reason}; see Ray's worker logs, then retry or drop the row"
        )
