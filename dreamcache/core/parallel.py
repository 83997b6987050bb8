"""An ordered parallel map over threads that holds a bounded number of results.

Knows threads only. For work that waits (storage, network); Python code gains nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = 16

A = TypeVar("A")
B = TypeVar("B")


def map_ordered(
    action: Callable[[A], B],
    items: Iterable[A],
    *,
    threads: int = THREADS,
    ahead: int | None = None,
    name: str = "dreamcache",
) -> Iterator[B]:
    """action(item) of every item, in order of the items.

    ahead: how many items are started before the first result is taken (twice the threads, if not given). Items are
    taken from their iterator by the calling thread. An error of `action` is raised in place of its result; what has
    not started by then, or when the caller stops early, never starts.
    """
    window = 2 * threads if ahead is None else ahead
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(action, item))
                if len(waiting) >= window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def run_all(
    action: Callable[[A], object], items: Iterable[A], *, threads: int = THREADS, name: str = "dreamcache"
) -> None:
    """`map_ordered` whose results nobody needs. Raises the first error of `action`."""
    for _ in map_ordered(action, items, threads=threads, name=name):
        pass
