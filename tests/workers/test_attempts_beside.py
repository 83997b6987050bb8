"""The attempt book where a worker decodes one batch beside the next one's denoising: innocents stay innocent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamcache.core.config.failures import FailurePolicy
from workers.attempts import AttemptBook

POLICY = FailurePolicy(max_attempts=2, item_timeout_s=10, max_worker_deaths=30)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class DiedError(Exception):
    """The worker's process."""


class Worker:
    """Works as `GenerateWorker` does; an item kills the process in the stage that `poison` names."""

    def __init__(self, book: AttemptBook, poison: dict[str, str]) -> None:
        self.book, self.poison = book, poison
        self.done: set[str] = set()
        self.quarantined: set[str] = set()
        self.deaths = 0

    def run(self, batches: list[list[str]]) -> None:
        """All batches; those that were in flight at a death come again, as Ray brings them."""
        remaining = list(batches)
        while remaining:
            assert self.book.join("w") < POLICY.max_worker_deaths
            decoding: list[list[str]] = []
            try:
                for batch in list(remaining):
                    self._batch(batch, decoding, remaining)
                self._decode(decoding, remaining)
            except DiedError:
                self.deaths += 1

    def _batch(self, batch: list[str], decoding: list[list[str]], remaining: list[list[str]]) -> None:
        plan = self.book.sort(batch)
        self.quarantined |= set(plan.quarantined)
        if len(plan.groups) != 1 or plan.suspects:
            self._decode(decoding, remaining)
            for group in plan.groups:
                self.book.begin("w", group)
                self._stage(group, "denoise")
                self._stage(group, "decode")
                self.book.end("w", group)
                self.done |= set(group)
            remaining.remove(batch)
            return
        [group] = plan.groups
        self.book.begin("w", group, beside=True)
        self._stage(group, "denoise")
        self.book.denoised("w", group)
        self._decode(decoding, remaining)  # of the batch before, beside this one
        decoding.append(batch)

    def _decode(self, decoding: list[list[str]], remaining: list[list[str]]) -> None:
        while decoding:
            batch = decoding[0]
            group = tuple(item for item in batch if item not in self.quarantined)
            self._stage(group, "decode")
            self.book.end("w", group)
            self.done |= set(group)
            remaining.remove(decoding.pop(0))

    def _stage(self, group: tuple[str, ...], stage: str) -> None:
        if any(self.poison.get(item) == stage for item in group):
            raise DiedError


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.data())
def test_the_poison_is_quarantined_and_nothing_beside_it(sizes: list[int], data: st.DataObject) -> None:
    batches = [[f"{number}-{item}" for item in range(size)] for number, size in enumerate(sizes)]
    items = [item for batch in batches for item in batch]
    chosen = data.draw(st.lists(st.sampled_from(items), unique=True, max_size=3))
    worker = Worker(
        AttemptBook(POLICY), {item: data.draw(st.sampled_from(["denoise", "decode"])) for item in chosen}
    )
    worker.run(batches)
    assert worker.quarantined == set(chosen)
    assert worker.done == set(items) - set(chosen)


def test_a_death_beside_another_batch_is_no_attempt_alone() -> None:
    book = AttemptBook(POLICY)
    for _ in range(POLICY.max_attempts + 1):
        book.join("w")
        book.begin("w", ("innocent",), beside=True)
        book.begin("w", ("poison",), beside=True)
    book.join("w")
    plan = book.sort(["innocent", "poison"])
    assert not plan.quarantined and plan.suspects == 2


def test_both_stages_have_events_and_the_denoiser_is_busy_for_its_own() -> None:
    book = AttemptBook(FailurePolicy(), clock := Clock())
    book.join("w", kind="generator")
    book.ready("w")
    book.begin("w", ("a",), beside=True)
    clock.now = 4
    book.denoised("w", ("a",))
    book.begin("w", ("b",), beside=True)
    clock.now = 6
    book.end("w", ("a",))
    clock.now = 8
    book.denoised("w", ("b",))
    clock.now = 9
    book.end("w", ("b",))
    events = [event for event in book.events(0) if event["event"] in ("batch", "decoded")]
    stages = [(event["event"], event["first"], event["seconds"]) for event in events]
    assert stages == [("batch", "a", 4), ("decoded", "a", 2), ("batch", "b", 4), ("decoded", "b", 1)]
    book.report_times()
    times = book.events(0)[-1]
    assert times["busy_s"] == pytest.approx(8) and times["batches"] == 2


def test_a_worker_that_is_lost_with_two_batches_reports_both() -> None:
    book = AttemptBook(POLICY)
    book.join("w")
    book.begin("w", ("a", "b"), beside=True)
    book.begin("w", ("c",), beside=True)
    book.join("w")
    events = book.events(0)
    assert [event["in_flight"] for event in events if event["event"] == "worker_lost"] == [3]
    assert sorted(event["units"] for event in events if event["event"] == "retried") == [1, 2]
