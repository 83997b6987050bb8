"""Money before work: what may begin is bounded by the limit, whatever batches take, over kills and workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.storage.spending import Spending, read_spending, write_spending
from workers.attempts import AttemptBook
from workers.reserve import AHEAD_S, CLOSING_S, SpendLimit
from workers.reserve import Reserve as RealReserve

PER_HOUR = 3600.0
"""So that a second costs 1."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Reserve(RealReserve):
    """With its clock, and what it has written."""

    def __init__(self, total: float | None, **limit: object) -> None:
        self.clock, self.written = Clock(), list[Spending]()
        super().__init__(
            SpendLimit(output="o", total=total, **limit),  # type: ignore[arg-type]
            self.clock,
            lambda output, spending: self.written.append(spending),
        )


def test_without_a_limit_everything_begins() -> None:
    reserve = RealReserve(None, Clock())
    reserve.join("a", PER_HOUR)
    assert reserve.may_begin("a") == "begin" and not reserve.is_limited


def test_one_batch_is_measured_before_others_begin() -> None:
    reserve = Reserve(100)
    reserve.join("a", PER_HOUR)
    reserve.join("b", PER_HOUR)
    assert reserve.may_begin("a") == "begin"
    assert reserve.may_begin("b") == "wait"
    reserve.clock.now = 10
    reserve.end("a")
    assert reserve.may_begin("b") == "begin" and reserve.may_begin("a") == "begin"
    # Spent 20, both until 20 at 2 a second, the end of the run, and a few seconds for the batches to come.
    assert reserve.written == [
        Spending(spent=0, reserved=2 * AHEAD_S),
        Spending(spent=20, reserved=20 + 2 * (10 + CLOSING_S + AHEAD_S)),
    ]


def test_short_batches_share_a_write_and_none_begins_beyond_what_is_written() -> None:
    """A thousand batches of a tenth of a second on four workers."""
    reserve = Reserve(200)
    workers = ["a", "b", "c", "d"]
    for worker in workers:
        reserve.join(worker, PER_HOUR)
    batches = 0
    while batches < 1000:
        begun = [worker for worker in workers if reserve.may_begin(worker) == "begin"]
        written = reserve.written[-1]
        assert written.reserved <= 200
        reserve.clock.now += 0.1
        assert reserve.cost() <= written.reserved, (
            "what is spent until they end was reserved before they began"
        )
        for worker in begun:
            reserve.end(worker)
        batches += len(begun)
    assert len(reserve.written) <= reserve.clock.now / AHEAD_S + 2


def test_a_step_never_reserves_beyond_the_limit() -> None:
    reserve = Reserve(28)
    reserve.join("a", PER_HOUR)
    reserve.may_begin("a")
    reserve.clock.now = 10
    reserve.end("a")
    assert reserve.may_begin("a") == "begin"  # until 20, and 5 for the end: 25 of 28
    assert reserve.written[-1].reserved == 28
    reserve.clock.now = 31
    reserve.keep_reserved()
    assert reserve.written[-1] == Spending(spent=31, reserved=31), (
        "what is spent is recorded, whatever the limit"
    )


def test_a_machine_that_went_without_a_word_holds_no_money_back() -> None:
    reserve = Reserve(100)
    for worker in "ab":
        reserve.join(worker, PER_HOUR)
    assert reserve.may_begin("a", most_s=20) == "begin"
    reserve.clock.now = 19
    assert reserve.may_begin("b") == "wait" and not reserve.is_over
    reserve.clock.now = 21
    assert reserve.may_begin("b", most_s=20) == "begin"
    reserve.clock.now = 60
    assert reserve.is_over and reserve.may_begin("a") == "exhausted"


def test_what_does_not_fit_waits_for_others_and_then_ends_the_run() -> None:
    reserve = Reserve(32)
    for worker in "ab":
        reserve.join(worker, PER_HOUR / 2)
    reserve.may_begin("a")
    reserve.clock.now = 10
    reserve.end("a")
    assert reserve.may_begin("a") == "begin"
    reserve.clock.now = 18
    assert reserve.may_begin("b") == "wait"  # until 28, and 5 for the end: 33 of 32
    reserve.clock.now = 25
    reserve.end("a")
    assert reserve.may_begin("b") == "exhausted"


def test_a_worker_that_died_holds_no_money() -> None:
    reserve = Reserve(1000)
    reserve.join("a", PER_HOUR)
    reserve.join("b", PER_HOUR)
    reserve.may_begin("a")
    assert reserve.may_begin("b") == "wait"
    reserve.join("a", PER_HOUR)  # its new process
    assert reserve.may_begin("b") == "begin"


def test_spending_of_earlier_runs_counts() -> None:
    reserve = Reserve(50, spent=50)
    reserve.join("a", PER_HOUR)
    assert reserve.may_begin("a") == "exhausted"


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.floats(0.5, 8), min_size=1, max_size=40),
    workers=st.integers(1, 4),
    total=st.floats(30, 200),
)
def test_an_overspend_is_one_batch_at_most(lengths: list[float], workers: int, total: float) -> None:
    """Batches of any length on any number of workers: at the end nothing in flight was begun beyond the limit, save
    that the longest batch was longer than expected."""
    reserve = Reserve(total)
    names = [f"w{number}" for number in range(workers)]
    for name in names:
        reserve.join(name, PER_HOUR)
    running: dict[str, float] = {}
    remaining = list(lengths)
    exhausted = False
    while remaining or running:
        for name in names:
            if remaining and name not in running and not exhausted:
                answer = reserve.may_begin(name)
                exhausted = answer == "exhausted"
                if answer == "begin":
                    running[name] = reserve.clock.now + remaining.pop()
        if exhausted or not running:
            break
        name = min(running, key=running.__getitem__)
        reserve.clock.now = max(reserve.clock.now, running.pop(name))
        reserve.end(name)
    longest = max(lengths)
    assert reserve.cost() <= total + workers * longest
    assert not exhausted or not running
    # What is on disk covers what was spent when a batch began.
    assert all(one.reserved >= one.spent for one in reserve.written)


def test_nothing_is_reserved_for_a_worker_that_has_ended() -> None:
    reserve = Reserve(100.0)
    for name in ("encoder", "a", "b"):
        reserve.join(name, PER_HOUR)
    assert reserve.may_begin("a") == "begin" and reserve.may_begin("b") == "wait"
    reserve.clock.now = 10
    reserve.leave("encoder")
    reserve.leave("a")
    reserve.leave("a")
    assert reserve.cost() == 30
    assert reserve.may_begin("b") == "begin", "the batch of a worker that has ended is not waited for"
    assert reserve.written[-1].reserved == 30 + AHEAD_S
    reserve.clock.now = 20
    reserve.join("a", PER_HOUR)
    reserve.clock.now = 25
    assert reserve.cost() == 30 + 15 + 5


def test_a_subject_may_cost_so_much() -> None:
    reserve = Reserve(None, per_subject=3.0, spent_by_subject={"old": 2.5})
    reserve.join("a", PER_HOUR)
    assert reserve.over_subject(["mug", "old"]) == [False, False]  # nothing measured, and not reached
    reserve.may_begin("a", ["mug", "old"])
    reserve.clock.now = 2
    reserve.end("a")  # each item has cost 1
    assert reserve.over_subject(["mug", "mug", "mug", "old", "new"]) == [False, False, True, True, False]


def test_items_beyond_their_subjects_money_are_quarantined() -> None:
    clock = Clock()
    limit = SpendLimit(output="o", per_subject=1.0, spent_by_subject={"mug": 2.0})
    book = AttemptBook(FailurePolicy(), clock, limit)
    plan = book.sort(["i1", "i2"], ["mug", "cup"])
    assert plan.groups == (("i2",),)
    assert plan.quarantined["i1"].code == "subject_budget" and plan.quarantined["i1"].attempts == 1
    assert book.sort(["i1"]).groups == (("i1",),)  # an encoder's units have no subjects


def test_the_end_of_the_money_is_one_event(tmp_path: Path) -> None:
    clock = Clock()
    book = AttemptBook(FailurePolicy(), clock, SpendLimit(output=str(tmp_path), total=1.0))
    book.join("a", kind="generator", per_hour=PER_HOUR)
    clock.now = 3
    assert [book.may_begin("a"), book.may_begin("a")] == ["exhausted", "exhausted"]
    assert [event["event"] for event in book.events(0)] == ["worker_started", "budget_exhausted"]
    left = read_spending(str(tmp_path))
    assert left is not None and left.reserved == pytest.approx(3)  # spent, though no batch began


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"spent": -1, "reserved": 2}', b'{"spent": NaN}', b"{" * 5000]
)
def test_a_damaged_record_counts_as_none(tmp_path: Path, data: bytes) -> None:
    assert read_spending(str(tmp_path)) is None
    (tmp_path / "spending.json").write_bytes(data)
    assert read_spending(str(tmp_path)) is None
    write_spending(str(tmp_path), Spending(spent=1, reserved=2))
    assert read_spending(str(tmp_path)) == Spending(spent=1, reserved=2)


def test_money_that_ends_while_a_batch_is_in_flight_ends_the_run_after_it(tmp_path: Path) -> None:
    clock = Clock()
    book = AttemptBook(FailurePolicy(), clock, SpendLimit(output=str(tmp_path), total=10.0))
    book.join("a", kind="generator", per_hour=PER_HOUR)
    assert book.may_begin("a") == "begin"
    book.begin("a", ("i",))
    clock.now = 12
    assert [event["event"] for event in book.events(0)] == ["worker_started"]
    book.end("a")
    assert "budget_exhausted" in [event["event"] for event in book.events(0)]
