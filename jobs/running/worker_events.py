"""What happens to the workers, read from the attempt book now and then: started, ready, lost, ended, quarantined.

    AttemptBook.events --every POLL_S--> on_event(event);   the book is shown which processes Ray has ended

Knows the book's actor handle; knows nothing of what follows from an event.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from jobs.running.worker_ends import WorkerEnds

POLL_S = 1.0
ANSWER_S = 5.0

WorkerEvent = Mapping[str, Any]
"""event, at (seconds since 1970), number, worker, and facts of the event."""


class WorkerEvents:
    """Use as a context manager around the work. on_event: called from another thread, each event once, in order."""

    def __init__(
        self,
        book: Any,
        on_event: Callable[[WorkerEvent], None],
        on_cost: Callable[[float], None] = lambda cost: None,
    ) -> None:
        """on_cost: called with the money that the workers have cost since its last call."""
        self._book, self._on_event, self._on_cost = book, on_event, on_cost
        self._ends = WorkerEnds(book)
        self._cost = 0.0
        self._number = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker-events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(2 * ANSWER_S)
        self.read()

    def read(self) -> None:
        """Hands over what is new. A book that does not answer is asked again the next time."""
        import ray

        if not ray.is_initialized():
            return
        try:
            events, cost = ray.get(
                [self._book.events.remote(self._number), self._book.cost.remote()], timeout=ANSWER_S
            )
        except Exception:  # noqa: BLE001 - the run itself meets whatever is wrong with the cluster
            return
        new, self._cost = cost - self._cost, cost
        self._on_cost(new)
        for event in events:
            self._number = max(self._number, event["number"])
            self._on_event(event)

    def _watch(self) -> None:
        import ray

        while not self._ended.wait(POLL_S):
            with suppress(Exception):  # as in `read`
                if ray.is_initialized():
                    self._ends.look()
            self.read()
