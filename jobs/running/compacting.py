"""Compaction of the ledger beside a run, in a thread of the driver: workers wait for none of it.

Knows the ledger and clocks; knows nothing of what is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dreamcache.core.errors import StorageError
from dreamcache.storage.compaction import compact
from dreamcache.storage.ledger import Ledger

EVERY_S = 60.0


@contextmanager
def compacting(ledger: Ledger, every_s: float = EVERY_S) -> Iterator[None]:
    """Compacts now and then while the block runs, and once more when it has ended by itself.

    A block that is left by an error, or by a request to stop, waits for the merge in progress alone.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every_s):
            _compact(ledger, ended)

    thread = threading.Thread(target=watch, name="compaction", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    _compact(ledger, threading.Event())


def _compact(ledger: Ledger, ended: threading.Event) -> None:
    # Housekeeping: whoever needs the storage meets what is wrong with it.
    with suppress(StorageError):
        compact(ledger, is_wanted=lambda: not ended.is_set())
