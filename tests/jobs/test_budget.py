"""Budgets count over all runs of a job and end a run cleanly."""

from __future__ import annotations

import pytest

from dreamcache.core.config.job import Limits
from dreamcache.core.config.price import Price
from dreamcache.core.errors import DreamCacheError, SpecError
from dreamcache.storage.spending import Spending
from jobs.running.budget import Budget, BudgetReached, limit_of
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


def test_money_is_counted_and_limited() -> None:
    price = Price(gpu_hour=2.5)
    budget = Budget(Limits(max_cost=10), {"cost": 4.0}, price, Spending(spent=4.0, reserved=6.0))
    assert budget.spent()["cost"] == 6.0  # a killed driver had reserved so much
    budget.on_cost(1.5)
    assert budget.reached() is None
    budget.on_cost(2.5)
    assert budget.reached() is None  # a batch in flight is paid for: workers report when none is
    spent = Budget(Limits(max_cost=10), {"cost": 10.0}, price)
    assert str(spent.reached()).startswith("limits.max_cost (10 USD) is reached: 10 spent")


def test_exhausted_money_ends_the_run_once_the_last_images_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    budget = Budget(Limits(max_cost=10), None, Price(cpu_hour=1))
    budget.exhaust()
    moment[0] += 1.5
    budget.on_outcome()
    moment[0] += 1.5
    assert budget.reached() is None
    moment[0] += 1.5
    assert budget.reached() is not None


def test_no_price_no_cost() -> None:
    assert "cost" not in Budget(Limits(), None).spent()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limits": {"max_cost": 5}}, "limits must be without max_cost where no price is given"),
        ({"price": {}}, "gpu_hour, cpu_hour must be more than 0"),
        ({"price": {"gpu_hour": 1, "currency": "usd"}}, "currency must be three capital letters"),
        ({"price": {"gpu_hour": -1}}, "gpu_hour must be 0 or more"),
    ],
)
def test_prices_that_cannot_be_meant_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec({"name": "a", "catalog": "c", "output": "o", **values})


def test_a_worker_without_money_ends_the_run_as_its_limit() -> None:
    """Outside the main thread nothing interrupts a run, so the worker's error is what ends it."""
    money = Budget(Limits(max_cost=5), None, Price(gpu_hour=2, currency="EUR"))
    error = DreamCacheError(
        "limits.max_cost is reached: no further batch may begin; the same command resumes", code="budget"
    )
    limit = limit_of(error, money)
    assert str(limit) == "limits.max_cost is reached: no further batch may begin"
    money.on_cost(6)
    money.exhaust()
    money._exhausted_at = 0.0  # settled since
    assert "5 EUR" in str(limit_of(error, money))
    reached = BudgetReached("limits.max_hours (1) is reached")
    assert limit_of(reached, money) is reached
    assert limit_of(DreamCacheError("x", code="worker_lost"), money) is None
    assert limit_of(KeyboardInterrupt(), money) is None
