"""The frame of every run: the folder is claimed, its status is kept, an interrupt stops it, the end is recorded.

    claim -> status "starting" -> the work -> "finished" | "stopped" and why

Shared by jobs, evaluations, syntheses and trainings. Knows the output folder and signals; knows nothing of Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.status import Kind
from jobs.running.interrupt import interrupt_of, interruptible
from jobs.running.status import RunStatus

INTERRUPTED = "interrupted"


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

    claim: makes the folder this run's, or raises SpecError. by_workers: see RunStatus. Ctrl-C and SIGTERM raise
    KeyboardInterrupt in the block, and end it as KeyboardInterrupt also where library code raised another error
    instead. A block that has ended the run itself (`RunStatus.end`) is not corrected.
    """
    claim()
    run = RunStatus(output, kind, name, address=address, quiet=quiet, by_workers=by_workers)
    with interruptible() as check:
        run.check = check
        try:
            run.write()
            yield run
            if not run.reload().has_ended:
                run.end("finished")
        except BaseException as error:
            interrupt = interrupt_of(error, check)
            if not run.current.has_ended:
                # The storage may be what failed; the run's own error matters more.
                with suppress(DreamCacheError):
                    run.end("stopped", INTERRUPTED if interrupt is not None else _reason(error))
            if interrupt is not None and interrupt is not error:
                raise interrupt from error
            raise


def _reason(error: BaseException) -> str:
    """The error in one line."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
