"""A worker under watch: attempts are written down, time and memory are bounded, and SIGTERM lets the batch end.

Knows Ray, signals and process limits; knows nothing of models.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.errors import DreamCacheError
from dreamcache.storage import s3_client
from workers.attempts import Verdict, Work

MEMORY_SHARE = 0.8
"""Of the machine, for a worker on the CPU that declares no memory: one that allocates without end must fail before Ray
or the kernel chooses whom to kill. On a GPU only declared memory is a bound: the driver maps memory of its own."""

HANDOVER_S = 1.0
STDERR = 2


class Watch:
    """Made on the driver, sent to a worker, `join`ed there."""

    def __init__(self, book: Any, policy: FailurePolicy, *, gpus: float, memory_bytes: int | None) -> None:
        self.book = book
        self.policy = policy
        self.gpus = gpus
        self.memory_bytes = memory_bytes

    def join(self) -> None:
        """First thing in a worker's life. Raises DreamCacheError `worker_lost` when it only ever dies."""
        import ray

        # A restarted actor keeps its id; so the book knows that this is the one that died.
        self.worker: str = ray.get_runtime_context().get_actor_id()
        deaths = ray.get(self.book.join.remote(self.worker, self.gpus))
        if deaths >= self.policy.max_worker_deaths:
            raise DreamCacheError(
                f"a worker died {deaths} times and finished nothing between; what is done is kept, the same command "
                f"goes on from here; if it ends so again, see Ray's logs, give the workers more memory, or lower "
                f"workers.batch_size",
                code="worker_lost",
            )
        # A storage that is gone must be told of before an item is blamed for the wait.
        patience = min(self.policy.storage_patience_s, self.policy.item_timeout_s / 2)
        s3_client.be_patient(patience, self.policy.storage_timeout_s)
        if self.memory_bytes or not self.gpus:
            limit_memory(self.memory_bytes or int(MEMORY_SHARE * machine_memory()))
        self.farewell = Farewell()

    def sort(self, units: Sequence[str]) -> Work:
        """See `AttemptBook.sort`."""
        import ray

        found: Work = ray.get(self.book.sort.remote(list(units)))
        return found

    def verdict(self, unit: str) -> Verdict | None:
        return self.sort([unit]).condemned.get(unit)

    @contextmanager
    def attempt(self, units: Sequence[str], *, batches: int = 1) -> Iterator[None]:
        """Units in hand. If it lasts longer than item_timeout_s, the process says where it hangs and ends.

        batches: drawn one after the other at most, each of which may take so long.
        """
        import ray

        ray.get(self.book.begin.remote(self.worker, tuple(units), batches))
        # A thread of C, not Python: code that hangs may hold the interpreter.
        faulthandler.dump_traceback_later(batches * self.policy.item_timeout_s, exit=True, file=STDERR)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self.book.end.remote(self.worker)


class Farewell:
    """SIGTERM (a preempted node, an operator): the batch in hand is finished and handed over, no other is begun.

    The process then ends as if it had crashed, so that Ray starts the worker again where it may.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """A batch in hand."""
        if self._asked.is_set():
            time.sleep(10 * HANDOVER_S)  # the thread below ends the process; this batch has not begun
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    def _on_sigterm(self, number: int, frame: Any) -> None:
        if not self._asked.is_set():
            self._asked.set()
            threading.Thread(target=self._leave, name="farewell", daemon=True).start()

    def _leave(self) -> None:
        self._idle.wait()
        time.sleep(HANDOVER_S)
        os._exit(1)


def limit_memory(limit: int) -> None:
    """Bounds this process's private memory in bytes, so that allocating more is an error of the item that does it."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(
        resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )


def machine_memory() -> int:
    """Bytes that this machine or container has."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup 2 and 1
        with suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(found)
