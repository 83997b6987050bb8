"""Rounds over lost pipelines end when nothing is committed any more; what workers cost is counted once."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pyarrow as pa
import pytest

from dreamcache.core.errors import DreamCacheError
from jobs.running.rounds import PIPELINE_LOST, CostMeter, run_rounds

MAX_ROUNDS = 3


class Pipeline:
    """Commits a row a batch, and is lost after `per_round` of them; what has a record is in `recorded`."""

    def __init__(self, per_round: int, code: str = PIPELINE_LOST) -> None:
        self.per_round, self.code = per_round, code
        self.recorded: list[int] = []
        self.losses: list[int] = []

    def run_once(self, rows: pa.Table) -> Generator[pa.Table]:
        for number, row in enumerate(rows["item"].to_pylist()):
            if number == self.per_round:
                raise DreamCacheError("lost", code=self.code)
            self.recorded.append(row)
            yield rows.slice(number, 1)

    def unrecorded(self, rows: pa.Table) -> pa.Table:
        return rows.filter(pa.array([row not in self.recorded for row in rows["item"].to_pylist()]))

    def outcomes(self, count: int) -> list[int]:
        batches = run_rounds(
            pa.table({"item": list(range(count))}),
            self.run_once,
            unrecorded=self.unrecorded,
            max_rounds=MAX_ROUNDS,
            on_lost=lambda error, attempts: self.losses.append(attempts),
        )
        return [row for batch in batches for row in batch["item"].to_pylist()]


def test_progress_resets_the_count_of_lost_rounds() -> None:
    pipeline = Pipeline(per_round=1)
    assert pipeline.outcomes(MAX_ROUNDS + 3) == list(range(MAX_ROUNDS + 3))
    assert pipeline.losses == [0] * (
        MAX_ROUNDS + 2
    )  # more often lost than rounds are allowed without progress


def test_rounds_without_progress_end_the_run() -> None:
    pipeline = Pipeline(per_round=0)
    with pytest.raises(DreamCacheError, match="lost"):
        pipeline.outcomes(2)
    assert pipeline.losses == [1, 2]  # the third ends it


def test_another_error_is_not_tried_again() -> None:
    pipeline = Pipeline(per_round=1, code="worker_error")
    with pytest.raises(DreamCacheError):
        pipeline.outcomes(3)
    assert pipeline.losses == [] and pipeline.recorded == [0]


def test_each_second_is_reported_once() -> None:
    totals = iter([10.0, 25.0, 25.0, 40.5])
    reported: list[float] = []
    report: Callable[[float], None] = reported.append
    meter = CostMeter(lambda: next(totals), report)
    for _ in range(4):
        meter.read()
    assert reported == [10.0, 15.0, 0.0, 15.5]
