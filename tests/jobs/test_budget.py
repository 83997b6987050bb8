"""Budgets count over all runs of a job and end a run cleanly."""

from __future__ import annotations

import pytest

from dreamcache.core.config.job import Limits
from dreamcache.core.errors import SpecError
from jobs.running.budget import Budget, BudgetReached
from jobs.spec import parse_spec

HOUR = 3600.0


def test_no_limit_no_end() -> None:
    budget = Budget(Limits(), None)
    budget.on_gpu_seconds(1e9)
    assert budget.items_left(10**7) is None


def test_gpu_hours_of_earlier_runs_count() -> None:
    budget = Budget(Limits(max_gpu_hours=2), {"hours": 5, "gpu_hours": 1.5})
    budget.on_gpu_seconds(0.25 * HOUR)
    with pytest.raises(BudgetReached, match=r"limits.max_gpu_hours \(2\)"):
        budget.on_gpu_seconds(0.25 * HOUR)
    assert budget.spent()["gpu_hours"] == pytest.approx(2)


def test_hours_of_earlier_runs_count() -> None:
    Budget(Limits(max_hours=2), {"hours": 1}).check()
    with pytest.raises(BudgetReached, match="max_hours"):
        Budget(Limits(max_hours=2), {"hours": 2}).check()


def test_items_left() -> None:
    assert Budget(Limits(max_items=10), None).items_left(4) == 6
    assert Budget(Limits(max_items=10), None).items_left(12) == 0


@pytest.mark.parametrize("name", ["max_items", "max_gpu_hours", "max_hours"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=name):
        parse_spec({"name": "a", "catalog": "c", "output": "o", "limits": {name: 0}})
