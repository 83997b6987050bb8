"""The attempt book alone: any items may be poison, any worker may die; innocents are never quarantined."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamcache.core.config.failures import FailurePolicy
from workers.attempts import AttemptBook
from workers.reserve import SpendLimit

POLICY = FailurePolicy(max_attempts=2, item_timeout_s=10, max_worker_deaths=12)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(
    book: AttemptBook, batch: list[str], poison: set[str], worker: str = "w"
) -> tuple[set[str], set[str], int]:
    """A worker's life with one batch, restarted whenever it dies: (done, quarantined, deaths)."""
    deaths = 0
    while True:
        assert book.join(worker) < POLICY.max_worker_deaths
        plan = book.sort(batch)
        done: set[str] = set()
        for group in plan.groups:
            book.begin(worker, group)
            if poison & set(group):
                deaths += 1
                break
            book.end(worker)
            done |= set(group)
        else:
            return done, set(plan.quarantined), deaths


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 17), st.data())
def test_the_poison_is_quarantined_and_nothing_else(size: int, data: st.DataObject) -> None:
    batch = [f"item-{number}" for number in range(size)]
    poison = set(data.draw(st.lists(st.sampled_from(batch), unique=True, max_size=4)))
    done, quarantined, deaths = work(AttemptBook(POLICY), batch, poison)
    assert quarantined == poison
    assert done == set(batch) - poison
    assert deaths <= len(poison) * (POLICY.max_attempts + size.bit_length())


def test_one_poison_in_eight_costs_three_halvings_and_its_attempts() -> None:
    batch = [f"item-{number}" for number in range(8)]
    assert work(AttemptBook(POLICY), batch, {"item-5"})[2] == 3 + POLICY.max_attempts


def test_a_batch_whose_worker_was_lost_is_tried_in_halves_and_is_innocent() -> None:
    book = AttemptBook(POLICY)
    batch = [f"item-{number}" for number in range(8)]
    for _ in range(3):  # lost nodes, each in the middle of the batch
        book.join("w")
        book.begin("w", tuple(book.sort(batch).groups[0]))
    assert {len(group) for group in book.sort(batch).groups} <= {1, 2, 4}
    done, quarantined, _ = work(book, batch, set())
    assert (done, quarantined) == (set(batch), set())
    assert book.sort(batch).groups == (tuple(batch),)  # and then they are as all others


def test_a_worker_that_continues_is_not_suspected_when_another_dies() -> None:
    book = AttemptBook(POLICY)
    for worker, unit in (("a", "x"), ("b", "y")):
        book.join(worker)
        book.begin(worker, (unit,))
    book.join("a")
    assert book.sort(["x"]).groups == (("x",),)
    book.end("b")
    book.join("b")
    book.begin("b", ("z", "y"))
    assert book.sort(["z", "y"]).groups == (("z", "y"),)


def test_a_unit_that_died_alone_stays_alone_when_a_larger_group_with_it_is_lost() -> None:
    book = AttemptBook(POLICY)
    for worker, units in (("v", ("a", "b", "c", "d")), ("w", ("a",))):
        book.join(worker)
        book.begin(worker, units)
    book.join("w")
    book.join("v")
    assert book.sort(["a", "b", "c", "d"]).groups == (("a",), ("b", "c"), ("d",))


def test_a_death_after_the_time_limit_is_a_timeout() -> None:
    clock = Clock()
    book = AttemptBook(POLICY, clock)
    for _ in range(POLICY.max_attempts):
        book.join("w")
        book.begin("w", ("slow",))
        clock.now += POLICY.item_timeout_s
    book.join("w")
    quarantine = book.sort(["slow"]).quarantined["slow"]
    assert (quarantine.code, quarantine.attempts) == ("timeout", POLICY.max_attempts)
    assert "item_timeout_s (10 s)" in quarantine.reason


def test_several_batches_have_the_time_of_several() -> None:
    clock = Clock()
    book = AttemptBook(POLICY, clock)
    for _ in range(POLICY.max_attempts):
        book.join("w")
        book.begin("w", ("retried",), 3)
        clock.now += 2 * POLICY.item_timeout_s
    book.join("w")
    assert book.sort(["retried"]).quarantined["retried"].code == "worker_died"


def test_a_worker_that_only_ever_dies_is_counted_and_one_that_works_is_forgiven() -> None:
    book = AttemptBook(POLICY)
    assert [book.join("w") for _ in range(4)] == [0, 1, 2, 3]
    book.begin("w", ("x",))
    book.end("w")
    assert book.join("w") == 1


def test_when_the_pipeline_is_lost_all_in_flight_is_suspect_under_any_worker() -> None:
    book = AttemptBook(POLICY)
    book.join("old")
    book.begin("old", ("a", "b"))
    book.settle()
    assert book.sort(["a", "b", "c"]).groups == (("a",), ("b",), ("c",))


def test_gpu_seconds_are_declared_gpus_by_time_also_after_a_round() -> None:
    clock = Clock()
    book = AttemptBook(POLICY, clock)
    book.join("w", 2)
    book.join("half", 0.5)
    clock.now = 10
    book.join("w", 2)  # restarted: still one worker
    assert book.gpu_seconds() == 25
    book.settle()
    clock.now = 100
    assert book.gpu_seconds() == 25


def test_a_worker_that_has_ended_costs_nothing_more_and_is_no_loss() -> None:
    clock = Clock()
    limit = SpendLimit(output="o", per_subject=1.0)
    book = AttemptBook(POLICY, clock, limit)
    for worker in ("encoder", "generator"):
        book.join(worker, 1, worker, per_hour=3600)
        book.ready(worker)
    clock.now = 10
    for _ in range(2):
        book.leave("encoder")
    book.leave("of another job")
    clock.now = 100
    assert book.gpu_seconds() == book.cost() == 110
    book.report_times()
    events = book.events(0)
    assert [event["worker"] for event in events if event["event"] == "worker_ended"] == ["encoder"]
    assert {event["kind"]: event["ready_s"] for event in events if event["event"] == "times"} == {
        "encoder": 10,
        "generator": 100,
    }
    book.settle()
    lost = [event["worker"] for event in book.events(0) if event["event"] == "worker_lost"]
    assert lost == ["generator"] and book.gpu_seconds() == book.cost() == 110


def test_a_worker_that_is_started_again_costs_nothing_meanwhile() -> None:
    clock = Clock()
    book = AttemptBook(POLICY, clock)
    book.join("w", 1, per_hour=3600)
    book.begin("w", ("x",))
    clock.now = 10
    book.leave("w", 1)
    clock.now = 50
    assert book.gpu_seconds() == book.cost() == 10
    assert not book.sort(["x"]).suspects, "its end is judged when it joins, as ever"
    book.join("w", 1, per_hour=3600, restarts=1)
    assert book.sort(["x"]).suspects == 1
    book.leave("w", 1)  # an old look at Ray's table
    clock.now = 60
    assert book.gpu_seconds() == book.cost() == 20
    names = [event["event"] for event in book.events(0)]
    assert names == ["worker_started", "worker_lost", "retried", "worker_started"]


def test_what_a_worker_had_in_flight_at_its_end_is_suspect_when_the_pipeline_is_lost() -> None:
    book = AttemptBook(POLICY)
    book.join("w")
    book.begin("w", ("x", "y"))
    book.leave("w")
    book.settle()
    assert book.sort(["x", "y"]).suspects == 2
    assert [event["in_flight"] for event in book.events(0) if event["event"] == "worker_lost"] == [2]


def test_many_workers_share_a_book() -> None:
    book = AttemptBook(POLICY)
    dice = random.Random(3)
    poison = {f"{worker}-{dice.randrange(8)}" for worker in range(20)}
    for worker in range(20):
        batch = [f"{worker}-{number}" for number in range(8)]
        done, quarantined, _ = work(book, batch, poison, f"w{worker}")
        assert quarantined == poison & set(batch) and done == set(batch) - poison


@pytest.mark.parametrize("values", [{"max_attempts": 0}, {"item_timeout_s": -1}, {"storage_patience_s": -1}])
def test_a_budget_that_cannot_be_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        FailurePolicy(**values)  # type: ignore[arg-type]
