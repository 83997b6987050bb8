"""The frame of every run: the folder is claimed, its status is kept, an interrupt stops it, the end is recorded.

    claim -> status "starting" -> the work, with a heartbeat -> "finished" | "stopped" or "failed", and why

Shared by jobs, evaluations, syntheses and trainings. Knows the output folder and signals; knows nothing of Ray.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.events import EventLog
from dreamcache.storage.run_state import seen
from dreamcache.storage.status import Kind, Status, read_status
from jobs.running.interrupt import interrupt_of, interruptible
from jobs.running.status import RunStatus

INTERRUPTED = "interrupted"
BEAT_CHECK_S = 1.0
MOST_REPORTED = 10
"""Different faults of the heartbeat that are noted."""


@contextmanager
def claimed_run(
    output: str,
    kind: Kind,
    name: str,
    *,
    claim: Callable[[], None],
    address: str | None = None,
    quiet: bool = False,
    by_workers: bool = False,
) -> Iterator[RunStatus]:
    """Yields the run's status; the block does the work and calls `check` between its steps.

    claim: assigns the folder to this run, or raises SpecError. by_workers: see RunStatus. Ctrl-C and SIGTERM raise
    KeyboardInterrupt in the block, and end it as KeyboardInterrupt also where library code raised another error
    instead. A block that has ended the run itself (`RunStatus.end`) is not corrected.
    """
    claim()
    run = RunStatus(output, kind, name, address=address, quiet=quiet, by_workers=by_workers)
    with interruptible() as check:
        run.check = check
        try:
            run.write()
            _record_start(run)
            with _heartbeat(run), logged(run.record):
                yield run
            if not run.reload().has_ended:
                run.end("finished")
        except BaseException as error:
            interrupt = interrupt_of(error, check)
            _record_end(run, error, interrupt)
            if interrupt is not None and interrupt is not error:
                raise interrupt from error
            raise


def _record_end(run: RunStatus, error: BaseException, interrupt: KeyboardInterrupt | None) -> None:
    if interrupt is None and not isinstance(error, DreamCacheError):
        run.record.line("".join(traceback.format_exception(error)))
    if not run.current.has_ended:
        # The storage may be what failed; the run's own error matters more.
        with suppress(DreamCacheError):
            if interrupt is not None:
                run.end("stopped", INTERRUPTED)
            else:
                run.end("failed", reason_of(error))


def reason_of(error: BaseException) -> str:
    """The error in one line; with its type where it is none of ours, whose messages say all."""
    lines = str(error).strip().splitlines()
    if isinstance(error, DreamCacheError) and lines:
        return lines[-1]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


def record_early_end(
    output: str,
    kind: Kind,
    name: str,
    error: Exception,
    *,
    address: str | None,
    on_end: Callable[[Status], None] = lambda status: None,
) -> None:
    """A run that ended before it could claim its folder, as when its catalog cannot be read: the folder, which
    belongs to this run's earlier ones, records that it failed. A run that is alive there keeps its status.

    Raises StorageError.
    """
    before = read_status(output)
    if before is None or seen(before).has_ended:
        run = RunStatus(output, kind, name, address=address, quiet=True)
        run.on_end = on_end
        run.end("failed", reason_of(error))


def _record_start(run: RunStatus) -> None:
    from jobs.output.publish_manifest import versions

    status = run.current
    assert status.driver is not None
    run.record.add(
        "started",
        kind=status.kind,
        name=status.name,
        host=status.driver.host,
        pid=status.driver.pid,
        cluster=status.address,
        versions=versions(),
    )
    run.record.line(
        f"{status.kind} {status.name} started, process {status.driver.pid} on {status.driver.host}"
    )
    run.record.flush()


@contextmanager
def logged(record: EventLog) -> Iterator[None]:
    """Warnings and errors that libraries log in this process go into the driver's log too."""

    root = logging.getLogger()
    # The first handler switches Python's own printer of last resort off.
    printer = None if root.handlers else logging.lastResort

    class Recorder(logging.Handler):
        def emit(self, line: logging.LogRecord) -> None:
            with suppress(Exception):
                record.line(f"{line.levelname} {line.name}: {line.getMessage()}")
            if printer is not None and root.handlers == [self]:
                printer.handle(line)

    handler = Recorder(level=logging.WARNING)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def _heartbeat(run: RunStatus) -> Iterator[None]:
    """Signs of life from a thread, while the work may wait for machines, a long batch or a storage."""
    ended = threading.Event()
    reported: set[str] = set()

    def step(action: Callable[[], None]) -> None:
        """A sign of life that fails costs itself: without the thread, a run that works would count as lost."""
        try:
            action()
        except DreamCacheError:
            pass  # the run itself meets the same storage
        except Exception as error:  # noqa: BLE001 - metrics, a library, anything that the next second may not meet
            text = f"a sign of life failed and is tried again: {reason_of(error)[:300]}"
            if text not in reported and len(reported) < MOST_REPORTED:
                reported.add(text)
                with suppress(Exception):
                    run.note(text)

    def watch() -> None:
        while not ended.wait(BEAT_CHECK_S):
            step(run.tick)
            step(run.beat)

    thread = threading.Thread(target=watch, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
