"""Ready and busy seconds of workers, as the attempt book counts and reports them."""

from __future__ import annotations

from dreamcache.core.config.failures import FailurePolicy
from workers.attempts import MOST_BATCH_EVENTS, TIMES_EVERY_S, AttemptBook
from workers.work_times import Totals, WorkTimes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_busy_seconds_are_those_at_a_batch() -> None:
    times = WorkTimes(clock := Clock())
    times.begin("unknown")
    assert not times.end("unknown") and times.totals() == {}
    times.ready("a", "generator")
    times.ready("b", "generator")
    clock.now += 2
    times.begin("a")
    clock.now += 3
    assert times.end("a")
    assert not times.end("a")
    times.begin("b")
    clock.now += 5
    assert times.totals() == {"generator": Totals(workers=2, batches=1, ready_s=20, busy_s=8)}
    times.lost("b")
    clock.now += 10
    assert times.totals() == {"generator": Totals(workers=2, batches=1, ready_s=30, busy_s=3)}
    times.ready("b", "generator")
    clock.now += 1
    assert times.totals()["generator"] == Totals(workers=3, batches=1, ready_s=32, busy_s=3)


def test_the_book_reports_batches_and_totals() -> None:
    book = AttemptBook(FailurePolicy(), clock := Clock())
    book.join("w", kind="generator", host="h")
    book.ready("w")
    for number in range(MOST_BATCH_EVENTS + 5):
        book.begin("w", (f"item{number}", "other"))
        clock.now += 0.5
        book.end("w")
    batches = [event for event in book.events(0) if event["event"] == "batch"]
    assert len(batches) == MOST_BATCH_EVENTS, "a run of days has no event a batch"
    assert batches[0]["first"] == "item0" and batches[0]["units"] == 2 and batches[0]["seconds"] == 0.5
    [times] = [event for event in book.events(0) if event["event"] == "times"]
    assert times["kind"] == "generator" and times["busy_s"] == times["ready_s"]
    assert times["batches"] == MOST_BATCH_EVENTS + 5
    clock.now += TIMES_EVERY_S
    assert len([event for event in book.events(0) if event["event"] == "times"]) == 2
    book.join("w", kind="generator", host="h")
    assert book.events(0)[-2]["event"] == "worker_lost"
