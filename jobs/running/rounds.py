"""Runs what remains of the plan after a pipeline was lost; counts what the workers cost, each second once.

    windows -> run_once -> batches;   the pipeline is lost -> what has no record yet -> run_once again

Knows when to give up; knows nothing of Ray, nor of what a row is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import pyarrow as pa

from dreamcache.core.errors import DreamCacheError
from jobs.running.windows import Windows

PIPELINE_LOST = "pipeline_lost"


def run_rounds(
    windows: Windows,
    run_once: Callable[[], Generator[pa.Table]],
    *,
    max_rounds: int,
    on_lost: Callable[[DreamCacheError, int], None],
) -> Generator[pa.Table]:
    """Yields the batches of run_once(), and again of what remains of the windows when it ends with `pipeline_lost`.

    on_lost: called with the error and the number of attempts in a row that committed nothing, before the next round.
    After max_rounds of those the error is raised; any other error is raised at once. Closing this iterator closes
    run_once's.
    """
    attempts_without_progress = 0
    while windows.num_rows:
        attempts_without_progress += 1
        try:
            with closing(run_once()) as batches:
                for batch in batches:
                    attempts_without_progress = 0
                    yield batch
            return
        except DreamCacheError as error:
            if error.code != PIPELINE_LOST or attempts_without_progress >= max_rounds:
                raise
            on_lost(error, attempts_without_progress)
        windows.restart()


class CostMeter:
    """Reports what was spent since the last reading of a counter that only grows.

    read_total: seconds so far. on_seconds: called with the difference; may raise, which ends the run.
    """

    def __init__(self, read_total: Callable[[], float], on_seconds: Callable[[float], None]) -> None:
        self._read_total, self._on_seconds = read_total, on_seconds
        self._reported = 0.0

    def read(self) -> None:
        """Reports the seconds since the last call, each second once."""
        total = self._read_total()
        new, self._reported = total - self._reported, total
        self._on_seconds(new)
