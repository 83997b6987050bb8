"""The ordered parallel map and the bounded memory of recent values."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dreamcache.core.lru import LRU
from dreamcache.core.parallel import map_ordered, run_all


def test_results_come_in_order_from_several_threads() -> None:
    both = threading.Barrier(2, timeout=10)

    def action(number: int) -> int:
        if number < 2:
            both.wait()  # passes only when two run at once
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(map_ordered(action, range(20), threads=2)) == [n * n for n in range(20)]


def test_no_more_than_the_window_is_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ordered(lambda number: number, items(), threads=2, ahead=5)
    assert next(results) == 0
    assert len(taken) == 5
    results.close()
    assert len(taken) == 5


def test_an_error_comes_in_place_of_its_result() -> None:
    started: list[int] = []

    def action(number: int) -> int:
        started.append(number)
        if number == 3:
            raise KeyError("three")
        return number

    results = map_ordered(action, range(1000), threads=1, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    assert len(started) < 10
    with pytest.raises(KeyError):
        run_all(action, [3])


def test_the_least_recently_used_goes_first() -> None:
    recent: LRU[str, int] = LRU(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (list(recent), recent.get("b"), "a" in recent, len(recent)) == (["a", "c"], None, True, 2)
    assert recent.get_or("c", lambda: 9) == 3
    assert recent.get_or("d", lambda: 4) == 4
    assert list(recent) == ["c", "d"]


def test_sizes_are_summed_and_the_newest_stays() -> None:
    recent: LRU[str, bytes] = LRU(10, size=len)
    recent.put("a", b"x" * 4)
    recent.put("a", b"x" * 6)
    assert recent.total == 6
    recent.put("b", b"x" * 4)
    assert list(recent) == ["a", "b"]
    recent.put("large", b"x" * 50)
    assert (list(recent), recent.total) == (["large"], 50)
    with pytest.raises(ZeroDivisionError):
        recent.get_or("z", lambda: bytes(1 // 0))
    assert "z" not in recent
