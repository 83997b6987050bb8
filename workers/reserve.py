"""Money before work: a batch begins when its cost is reserved, so that a limit is overspent by one batch at most.

    worker --may_begin--> Reserve: spent by the clock + until every batch in flight has ended <= limit ?
                          "begin" | "wait" (others are in flight) | "exhausted"

What workers cost is their price from their start to their end, busy or idle. Until a first batch has ended its length
is not known: one begins, and the others wait for it. Plain Python, part of the `AttemptBook`; knows prices and clocks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dreamcache.storage.spending import Spending, write_spending

HOUR = 3600.0
LENGTHS = 20
"""The last batches, of which the longest is expected again."""
CLOSING_S = 5.0
"""For the end of a run, in which its workers are still up: reserved with every batch."""
AHEAD_S = 5.0
"""Of all workers' price, reserved beyond what is needed: so short batches share a write, and a kill loses no more of
what was not spent. While no length is known it is all that is reserved."""

Answer = Literal["begin", "wait", "exhausted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpendLimit:
    """total: of the job over all its runs; None for no limit of that kind. spent: by earlier runs, or before this
    pipeline. per_subject: of one subject, and spent_by_subject what its images have cost so far. output: where
    reservations are recorded."""

    output: str
    total: float | None = None
    spent: float = 0.0
    per_subject: float | None = None
    spent_by_subject: Mapping[str, float] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class _Batch:
    """In flight. lost: when its process has ended itself, if nothing was heard of it. subjects: of its items."""

    began: float
    ends: float
    lost: float
    subjects: tuple[str, ...]


class Reserve:
    """Cost of the workers, and what may begin. clock: seconds; write: keeps a reservation, tests give their own."""

    def __init__(
        self,
        limit: SpendLimit | None,
        clock: Callable[[], float],
        write: Callable[[str, Spending], None] = write_spending,
    ) -> None:
        self.limit = limit
        self._clock, self._write = clock, write
        self._joined: dict[str, tuple[float, float]] = {}  # when, and the price of an hour
        self._settled = 0.0
        self._in_flight: dict[str, _Batch] = {}
        self._lengths: deque[float] = deque(maxlen=LENGTHS)
        self._shares: deque[float] = deque(maxlen=LENGTHS)  # of one item
        self._by_subject: dict[str, float] = dict(limit.spent_by_subject) if limit else {}
        self._reserved = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether batches must ask before they begin."""
        return self.limit is not None and self.limit.total is not None

    def join(self, worker: str, per_hour: float) -> None:
        """A worker's process is up. One that had a batch in flight has died with it."""
        self._drop_batch(worker)
        self._joined.setdefault(worker, (self._clock(), per_hour))

    def leave(self, worker: str) -> None:
        """The worker's process has ended, and its batch without a result: it costs nothing until it joins again."""
        self._drop_batch(worker)
        since, per_hour = self._joined.pop(worker, (self._clock(), 0.0))
        self._settled += (self._clock() - since) * per_hour / HOUR

    def _drop_batch(self, worker: str) -> None:
        self._in_flight.pop(worker, None)

    def settle(self) -> None:
        """Every worker is gone."""
        self._settled = self.cost()
        self._joined.clear()
        self._in_flight.clear()

    def cost(self) -> float:
        """Of this pipeline's workers so far."""
        now = self._clock()
        return self._settled + sum((now - since) * price / HOUR for since, price in self._joined.values())

    def may_begin(self, worker: str, subjects: Sequence[str] = (), most_s: float = math.inf) -> Answer:
        """Whether the worker's next batch may begin; if so, its cost is reserved, on disk too. Raises StorageError.

        most_s: after which its process ends itself. A machine may go without a word, and its batch with it.
        """
        now = self._clock()
        self._drop_lost(now)
        if self.is_limited and (answer := self._judge(now)) != "begin":
            return answer
        length = max(self._lengths, default=0.0)
        self._in_flight[worker] = _Batch(
            began=now, ends=now + length, lost=now + most_s, subjects=tuple(subjects)
        )
        return "begin"

    def end(self, worker: str) -> None:
        """The worker's batch has ended, whatever its result."""
        batch = self._in_flight.pop(worker, None)
        if batch is None:
            return
        seconds = self._clock() - batch.began
        self._lengths.append(seconds)
        if batch.subjects:
            share = seconds * self._joined.get(worker, (0.0, 0.0))[1] / HOUR / len(batch.subjects)
            self._shares.append(share)
            for subject in batch.subjects:
                self._by_subject[subject] = self._by_subject.get(subject, 0.0) + share

    def over_subject(self, subjects: Sequence[str]) -> list[bool]:
        """Of each item's subject, whether the item would exceed what its subject may cost."""
        if self.limit is None or self.limit.per_subject is None:
            return [False] * len(subjects)
        share = max(self._shares, default=0.0)
        planned: dict[str, float] = {}
        for batch in self._in_flight.values():
            for subject in batch.subjects:
                planned[subject] = planned.get(subject, 0.0) + share
        over = []
        for subject in subjects:
            cost = self._by_subject.get(subject, 0.0) + planned.get(subject, 0.0)
            over.append(cost + share > self.limit.per_subject if share else cost >= self.limit.per_subject)
            if not over[-1]:
                planned[subject] = planned.get(subject, 0.0) + share
        return over

    @property
    def is_over(self) -> bool:
        """Whether the money has ended while no batch is in flight, as while workers start or encode."""
        limit = self.limit.total if self.limit else None
        self._drop_lost(self._clock())
        return limit is not None and not self._in_flight and self._total() >= limit

    def keep_reserved(self) -> None:
        """To be called about once a second: what is spent beyond the reservation, as by a first batch, is recorded."""
        if self.limit is not None and self.is_limited and self._total() > self._reserved:
            self._reserve(self._total() + AHEAD_S * self._per_second())

    def _drop_lost(self, now: float) -> None:
        for worker in [worker for worker, batch in self._in_flight.items() if batch.lost <= now]:
            self._drop_batch(worker)

    def _total(self) -> float:
        assert self.limit is not None
        return self.limit.spent + self.cost()

    def _per_second(self) -> float:
        return sum(price for _, price in self._joined.values()) / HOUR

    def _judge(self, now: float) -> Answer:
        assert self.limit is not None and self.limit.total is not None
        if not self._lengths:
            if self._in_flight:
                return "wait"
            if self._total() + CLOSING_S * self._per_second() >= self.limit.total:
                return "exhausted"
            self._reserve(self._total() + AHEAD_S * self._per_second())
            return "begin"
        # A batch that is late ends now at the earliest.
        ends = [now + max(self._lengths), *(batch.ends for batch in self._in_flight.values())]
        needed = self._total() + (max(ends) - now + CLOSING_S) * self._per_second()
        if needed > self.limit.total:
            return "wait" if self._in_flight else "exhausted"
        if needed > self._reserved:
            self._reserve(needed + AHEAD_S * self._per_second())
        return "begin"

    def _reserve(self, amount: float) -> None:
        """Only ever more: what is written holds until the run ends. At most the limit, or what is spent."""
        if self.limit is None or self.limit.total is None:
            return
        spent = self._total()
        amount = max(min(amount, self.limit.total), spent)
        if amount > self._reserved:
            self._write(self.limit.output, Spending(spent=spent, reserved=amount))
            self._reserved = amount
