"""Rounds over lost pipelines end when nothing is committed any more; what workers cost is counted once."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pyarrow as pa
import pytest

from dreamcache.core.errors import DreamCacheError
from jobs.running.rounds import PIPELINE_LOST, CostMeter, run_rounds
from jobs.running.windows import Windows

MAX_ROUNDS = 3


class Pipeline:
    """Commits a row a batch, and is lost after `per_round` of them; what has a record is in `recorded`."""

    def __init__(self, per_round: int, code: str = PIPELINE_LOST) -> None:
        self.per_round, self.code = per_round, code
        self.recorded: list[str] = []
        self.losses: list[int] = []

    def run_once(self, windows: Windows) -> Generator[pa.Table]:
        number = 0
        while rows := list(windows.due()):
            for item in (item for table in rows for item in table["item_id"].to_pylist()):
                if number == self.per_round:
                    raise DreamCacheError("lost", code=self.code)
                number += 1
                self.recorded.append(item)
                windows.ended([item])
                yield pa.table({"item_id": [item]})

    def unrecorded(self, rows: pa.Table) -> pa.Table:
        return rows.filter(pa.array([item not in self.recorded for item in rows["item_id"].to_pylist()]))

    def outcomes(self, count: int, window_rows: int = 2) -> list[str]:
        items = [str(number) for number in range(count)]
        tables = [
            pa.table({"item_id": items[start : start + window_rows]})
            for start in range(0, count, window_rows)
        ]
        windows = Windows(tables, count, window_rows=window_rows, look=lambda: self.unrecorded)
        batches = run_rounds(
            windows,
            lambda: self.run_once(windows),
            max_rounds=MAX_ROUNDS,
            on_lost=lambda error, attempts: self.losses.append(attempts),
        )
        return [item for batch in batches for item in batch["item_id"].to_pylist()]


def test_progress_resets_the_count_of_lost_rounds() -> None:
    pipeline = Pipeline(per_round=1)
    assert pipeline.outcomes(MAX_ROUNDS + 3) == [str(number) for number in range(MAX_ROUNDS + 3)]
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
    assert pipeline.losses == [] and pipeline.recorded == ["0"]


def test_each_second_is_reported_once() -> None:
    totals = iter([10.0, 25.0, 25.0, 40.5])
    reported: list[float] = []
    report: Callable[[float], None] = reported.append
    meter = CostMeter(lambda: next(totals), report)
    for _ in range(4):
        meter.read()
    assert reported == [10.0, 15.0, 0.0, 15.5]
