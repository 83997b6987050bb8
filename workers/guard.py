"""A guarded worker: attempts are recorded, time and memory are bounded, and SIGTERM lets the batch finish.

Knows Ray, signals and process limits; knows nothing of models.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.errors import DreamCacheError
from workers.attempt_plan import AttemptPlan
from workers.storage_retries import set_storage_retries

if TYPE_CHECKING:
    from ray import ObjectRef

MEMORY_SHARE = 0.8
"""Of the machine, for a worker on the CPU that declares no memory: one that allocates without end must fail before Ray
or the kernel chooses whom to kill. On a GPU only declared memory is a bound: the driver maps memory of its own."""

HANDOVER_S = 1.0
ASK_AGAIN_S = 0.2
"""For money, while others are in flight."""
RUN_ENDS_S = 60.0
"""In which the run ends a worker for which no money is left; one that is not ended by then ends the run."""
STDERR = 2


class RemoteMethod(Protocol):
    """A method of a Ray actor."""

    def remote(self, *args: object) -> ObjectRef[Any]: ...


class AttemptBookActor(Protocol):
    """The handle of the `AttemptBook` that runs as a Ray actor; see there."""

    @property
    def join(self) -> RemoteMethod: ...
    @property
    def ready(self) -> RemoteMethod: ...
    @property
    def sort(self) -> RemoteMethod: ...
    @property
    def may_begin(self) -> RemoteMethod: ...
    @property
    def begin(self) -> RemoteMethod: ...
    @property
    def denoised(self) -> RemoteMethod: ...
    @property
    def end(self) -> RemoteMethod: ...
    @property
    def refuse(self) -> RemoteMethod: ...
    @property
    def leave(self) -> RemoteMethod: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class InFlight:
    """Units that a worker has in flight. number: of this process."""

    number: int
    units: tuple[str, ...]


_TIMER = threading.Lock()
"""A process has one timer. Not part of a Watch, which is sent to its worker."""


class Watch:
    """Created on the driver, sent to a worker, `join`ed there."""

    def __init__(
        self,
        book: AttemptBookActor,
        policy: FailurePolicy,
        *,
        gpus: float,
        memory_bytes: int | None,
        per_hour: float = 0.0,
        is_priced: bool = False,
    ) -> None:
        """per_hour: the worker's price. is_priced: batches ask for their money before they begin."""
        self.book = book
        self.policy = policy
        self.gpus = gpus
        self.per_hour, self.is_priced = per_hour, is_priced
        self.memory_bytes = memory_bytes
        self._deadlines: dict[int, float] = {}
        self._num_attempts = 0

    def join(self, kind: str = "worker") -> None:
        """The first call in a worker's life. Raises DreamCacheError `worker_lost` when it died too often.

        kind: "encoder" or "generator", for the record of events.
        """
        self.worker = self._name()
        self.is_priced = self.is_priced and kind == "generator"
        about = (self.gpus, kind, socket.gethostname(), self.per_hour, self._restarts())
        deaths = self._ask(self.book.join, self.worker, *about)
        if deaths >= self.policy.max_worker_deaths:
            raise DreamCacheError(
                f"a worker died {deaths} times and finished no batch in between (failures.max_worker_deaths is "
                f"{self.policy.max_worker_deaths}); finished items are kept and the same command resumes; if it "
                f"happens again, see Ray's logs, give the workers more memory, or lower workers.batch_size",
                code="worker_lost",
            )
        # An unreachable storage must be reported before an item is blamed for the wait.
        set_storage_retries(self.policy, self.policy.item_timeout_s / 2)
        if self.memory_bytes or not self.gpus:
            limit_memory(self.memory_bytes or int(MEMORY_SHARE * machine_memory()))
        self.shutdown = GracefulShutdown()

    def ready(self) -> None:
        """See `AttemptBook.ready`."""
        self.book.ready.remote(self.worker)

    def sort(self, units: Sequence[str], subjects: Sequence[str] = ()) -> AttemptPlan:
        """See `AttemptBook.sort`."""
        plan: AttemptPlan = self._ask(self.book.sort, list(units), list(subjects))
        return plan

    def _wait_for_money(self, subjects: Sequence[str], batches: int) -> None:
        """Until the batch's cost is reserved. Where no money is left, until the run ends this process."""
        gives_up: float | None = None
        while (answer := self._ask(self.book.may_begin, self.worker, list(subjects), batches)) != "begin":
            self.shutdown.end_if_requested()
            gives_up = (gives_up or time.monotonic() + RUN_ENDS_S) if answer == "exhausted" else None
            if gives_up is not None and time.monotonic() > gives_up:
                raise DreamCacheError("limits.max_cost is reached: no further batch may begin", code="budget")
            time.sleep(ASK_AGAIN_S)

    def refuse(self, cache_key: str, message: str) -> None:
        """See `AttemptBook.refuse`."""
        self.book.refuse.remote(cache_key, message)

    @contextmanager
    def attempt(
        self, units: Sequence[str], *, batches: int = 1, subjects: Sequence[str] = (), beside: bool = False
    ) -> Iterator[None]:
        """Units in flight. After `batches` times item_timeout_s the process prints its stack and ends.

        batches: how many may be generated one after the other in this attempt. subjects: of the units, for their money.
        beside: see `begin`.
        """
        if self.is_priced:
            self._wait_for_money(subjects, batches)
        attempt = self.begin(units, batches=batches, beside=beside)
        try:
            yield
        finally:
            self.end(attempt)

    def begin(self, units: Sequence[str], *, batches: int = 1, beside: bool = False) -> InFlight:
        """Units in flight from now on, until `end`; see `attempt`.

        beside: the attempt before may be in flight too. Without it, one that has not ended has killed its process.
        """
        self._ask(self.book.begin, self.worker, tuple(units), batches, beside)
        with _TIMER:
            self._num_attempts += 1
            attempt = InFlight(number=self._num_attempts, units=tuple(units))
            self._deadlines[attempt.number] = time.monotonic() + batches * self.policy.item_timeout_s
            self._set_timer()
        return attempt

    def denoised(self, attempt: InFlight) -> None:
        """See `AttemptBook.denoised`."""
        self.book.denoised.remote(self.worker, attempt.units)

    def end(self, attempt: InFlight) -> None:
        """The attempt is over, whatever its result; called once or several times."""
        with _TIMER:
            if self._deadlines.pop(attempt.number, None) is None:
                return
            self._set_timer()
        self.book.end.remote(self.worker, attempt.units)

    def _set_timer(self) -> None:
        # A thread of C, not Python: code that hangs may hold the interpreter.
        faulthandler.cancel_dump_traceback_later()
        if self._deadlines:
            seconds = max(0.001, min(self._deadlines.values()) - time.monotonic())
            faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

    def _name(self) -> str:
        """A restarted actor keeps its id; so the book knows that this is the one that died."""
        import ray

        return str(ray.get_runtime_context().get_actor_id())

    def _restarts(self) -> int:
        """How often Ray has started this worker again."""
        from ray._private import state

        return int(state.actors(self.worker).get("NumRestarts", 0))

    def _ask(self, method: RemoteMethod, *args: object) -> Any:
        """The book's answer."""
        import ray

        return ray.get(method.remote(*args))


class GracefulShutdown:
    """On SIGTERM (a preempted node, an operator) the batch in flight is finished and handed over, no other begins.

    The process then ends as if it had crashed, so that Ray starts the worker again where it may.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._state = threading.Condition()
        self._in_flight = 0
        signal.signal(signal.SIGTERM, self._on_sigterm)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """A batch in flight."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """A batch is in flight until `end`. After a request to stop none begins: waits for the process's end."""
        with self._state:
            self._in_flight += 1
        self.end_if_requested()

    def end(self) -> None:
        """A batch is over."""
        with self._state:
            self._in_flight -= 1
            self._state.notify_all()

    def end_if_requested(self) -> None:
        """Within a batch that has not begun its work: waits for the process's end, if that is requested."""
        if self._requested.is_set():
            self.end()
            while True:
                time.sleep(HANDOVER_S)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if not self._requested.is_set():
            self._requested.set()
            threading.Thread(target=self._exit_when_idle, name="graceful-shutdown", daemon=True).start()

    def _exit_when_idle(self) -> None:
        with self._state:
            self._state.wait_for(lambda: self._in_flight == 0)
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
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup 2 and 1
        with suppress(OSError, ValueError):
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)
