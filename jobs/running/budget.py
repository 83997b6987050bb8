"""What a job may cost: items, GPU-hours, hours, money, over all its runs. Knows numbers and clocks; nothing of Ray.

status.json holds what earlier runs have spent, spending.json what they had reserved when they were killed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dreamcache.core.config.job import Limits
from dreamcache.core.config.price import Price
from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.spending import Spending

OUT_OF_MONEY = "budget"
"""Code of the error of a worker that may begin no further batch."""
SETTLE_S = 2.0
"""After the last outcome: what was in flight when the money ended is published by then."""


class BudgetReached(Exception):  # noqa: N818  an end like StopIteration, not an error
    """The run stops cleanly with exit code 4; the same command with a higher limit resumes."""


def limit_of(error: BaseException, budget: Budget) -> BudgetReached | None:
    """The limit that has ended the work, if one has.

    Of workers it arrives as an error of theirs where the run has not ended before: outside the main thread nothing
    interrupts it (see `interrupting_when`).
    """
    if isinstance(error, BudgetReached):
        return error
    if isinstance(error, DreamCacheError) and error.code == OUT_OF_MONEY:
        return budget.reached() or BudgetReached(str(error).partition(";")[0])
    return None


class Budget:
    """Counts what this run spends on top of `before`, the `spent` of the last status.

    reserved: what the last run left in spending.json. Threads may call it.
    """

    def __init__(
        self,
        limits: Limits,
        before: Mapping[str, Any] | None,
        price: Price | None = None,
        reserved: Spending | None = None,
    ) -> None:
        self.limits, self.price = limits, price
        before = before or {}
        self.cost = max(float(before.get("cost", 0)), reserved.reserved if reserved else 0.0)
        self._has_workers = False
        self._exhausted_at: float | None = None
        self._last_outcome = 0.0
        self._hours, self._gpu_hours = float(before.get("hours", 0)), float(before.get("gpu_hours", 0))
        self._started = time.monotonic()
        self._gpu_seconds = 0.0

    def items_left(self, recorded: int) -> int | None:
        """How many more items may be generated; None for no limit."""
        limit = self.limits.max_items
        return None if limit is None else max(0, limit - recorded)

    def on_gpu_seconds(self, seconds: float) -> None:
        """So many more were spent. Raises BudgetReached."""
        self._gpu_seconds += seconds
        self.check()

    def on_cost(self, money: float) -> None:
        """So much more was spent: workers are up, and the money's end is theirs to report, see `exhaust`."""
        self.cost += money
        self._has_workers = True

    def on_outcome(self) -> None:
        """An item has ended."""
        self._last_outcome = time.monotonic()

    def exhaust(self) -> None:
        """No further batch may begin; what is in flight ends."""
        self._exhausted_at = self._exhausted_at or time.monotonic()

    def check(self) -> None:
        """Raises BudgetReached."""
        if reached := self.reached():
            raise reached

    def reached(self) -> BudgetReached | None:
        """Which limit is reached, if one is."""
        spent = self.spent()
        for name, unit in (("hours", "max_hours"), ("gpu_hours", "max_gpu_hours")):
            limit = getattr(self.limits, unit)
            if limit is not None and spent[name] >= limit:
                return BudgetReached(f"limits.{unit} ({limit:g}) is reached: {spent[name]:.4g} spent")
        return self._reached_money()

    def _reached_money(self) -> BudgetReached | None:
        """With money the batches in flight end, since they are paid for; then the run does."""
        limit, price = self.limits.max_cost, self.price
        if limit is None or price is None:
            return None
        last = max(self._exhausted_at or 0.0, self._last_outcome)
        is_settled = self._exhausted_at is not None and time.monotonic() - last >= SETTLE_S
        if is_settled or (self.cost >= limit and not self._has_workers):
            return BudgetReached(
                f"limits.max_cost ({limit:g} {price.currency}) is reached: {self.cost:.4g} spent, and another "
                "batch would exceed it"
            )
        return None

    def spent(self) -> dict[str, float]:
        """For status.json."""
        hours = (time.monotonic() - self._started) / 3600
        spent = {"hours": self._hours + hours, "gpu_hours": self._gpu_hours + self._gpu_seconds / 3600}
        return spent if self.price is None else {**spent, "cost": self.cost}
