"""What a job may cost: items, GPU-hours, hours, over all its runs. Knows numbers and clocks; knows nothing of Ray.

status.json holds what earlier runs have spent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dreamcache.core.config.job import Limits


class BudgetReached(Exception):  # noqa: N818  an end like StopIteration, not an error
    """The run stops cleanly with exit code 4; the same command with a higher limit resumes."""


class Budget:
    """Counts what this run spends on top of `before`, the `spent` of the last status."""

    def __init__(self, limits: Limits, before: Mapping[str, Any] | None) -> None:
        self.limits = limits
        before = before or {}
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
        return None

    def spent(self) -> dict[str, float]:
        """For status.json."""
        hours = (time.monotonic() - self._started) / 3600
        return {"hours": self._hours + hours, "gpu_hours": self._gpu_hours + self._gpu_seconds / 3600}
