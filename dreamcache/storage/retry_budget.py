"""How long this process retries a storage that does not answer, and how long it waits for each answer.

Little at first, so that a wrong endpoint is reported at once; more for workers, whose storage did answer before. Comes
on top of what the clients of the stores retry themselves, which lasts a few seconds. Knows clocks, not stores.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

LEAST_TRIES = 3
LONGEST_PAUSE_S = 8.0
ANSWER_S = 60.0

_retry_budget_s = 0.0
_answer_s = ANSWER_S


def set_retry_budget(seconds: float, answer_s: float = ANSWER_S) -> None:
    """From now on this process retries a request for so long, and waits `answer_s` for each answer."""
    global _retry_budget_s, _answer_s
    _retry_budget_s, _answer_s = seconds, answer_s


@contextmanager
def retrying(seconds: float, answer_s: float = ANSWER_S) -> Iterator[None]:
    """As `set_retry_budget`, within the block only."""
    before = retry_budget()
    set_retry_budget(seconds, answer_s)
    try:
        yield
    finally:
        set_retry_budget(*before)


def retry_budget() -> tuple[float, float]:
    """(seconds of retries, seconds for each answer) in force."""
    return _retry_budget_s, _answer_s


def tries(least: int = LEAST_TRIES) -> Iterator[int]:
    """1, 2, ... with jittered, growing pauses between; ends after `least` and once the retry budget is spent."""
    began = time.monotonic()
    for attempt in itertools.count(1):
        yield attempt
        if attempt >= least and time.monotonic() - began >= _retry_budget_s:
            return
        time.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.05 * 2 ** min(attempt, 10))))
