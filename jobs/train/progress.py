"""Progress of a training: the workers write status.json, the driver reads it and shows it when it has changed.

So a line states the same as `dreamcache status`, and the workers need no way back to the driver. Knows no Ray.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from dreamcache.core.errors import DreamCacheError
from jobs.running.display import Display
from jobs.running.status import RunStatus
from jobs.running.status_text import detail_of

POLL_INTERVAL_S = 2.0


class TrainProgress:
    """Shows a run's status.json while workers write it; use as a context manager."""

    def __init__(self, run: RunStatus) -> None:
        self._run = run
        self._display = Display("steps", quiet=run.quiet)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> TrainProgress:
        self._display.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)
        self._display.__exit__(None, None, None)

    def _watch(self) -> None:
        shown = self._run.current.updated_at, self._run.current.ended
        is_last = False
        while not is_last:
            is_last = self._ended.wait(POLL_INTERVAL_S)
            with suppress(DreamCacheError):
                status = self._run.reload()
                newest = status.updated_at, status.ended
                if newest != shown:
                    shown = newest
                    self._display.show(status.ended, status.total, detail_of(status), force=True)
