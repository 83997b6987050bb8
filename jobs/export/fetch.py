"""Images of a job read in parallel and given in order, a bounded number at a time.

Knows stores; knows nothing of forms of export.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from dreamcache.core.errors import ImageError
from dreamcache.storage.open_store import join, store_for
from jobs.export.names import Row

THREADS = 16
WINDOW = 4 * THREADS

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """An image that the manifest names and the storage has not, or not as it was."""

    item_id: str
    message: str


def in_parallel(action: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """action(item) of every item, in order, computed by threads; never more than WINDOW results wait."""
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="export") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(action, item))
                if len(waiting) >= WINDOW:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_image(output: str, row: Row) -> bytes:
    """The image's file. Raises ImageError when it is gone or has another size than its record says."""
    uri = join(output, row["key"])
    try:
        data = store_for(uri).read(uri)
    except FileNotFoundError:
        raise ImageError(
            f"{uri}: the manifest names this image, there is none; was it deleted?", code="lost"
        ) from None
    if len(data) != row["num_bytes"]:
        message = f"{uri}: must have {row['num_bytes']} bytes as recorded, has {len(data)}; it was changed"
        raise ImageError(message, code="lost")
    return data
