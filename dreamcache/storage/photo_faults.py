"""When photos that fail one after the other mean that the storage as a whole fails, and not the photos.

    each photo's end --observe--> nothing, or StorageError: so many in a row, for the same reason, beginning with ...

A photo that cannot be read costs its own row. Some reasons would meet every photo, and a run that continued would only
turn rows into failures. So it ends after LIMIT photos in a row that fail with the same code of STORAGE_WIDE, or once
LEAST of them have taken LONGEST_S. A photo that is read, or fails otherwise, begins the count anew.

Knows errors; knows nothing of storage.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from dreamcache.core.errors import DreamCacheError, StorageError

STORAGE_WIDE = ("no_credentials", "expired_credentials", "storage_unreachable", "io_error", "no_package")
"""Codes that may be the storage's fault as well as the photo's."""

TEMPORARY = (*STORAGE_WIDE, "host_unreachable", "too_slow", "bad_response")
"""Codes that say nothing of the photo itself: its last known content stands, so that finished items stay finished."""

ASKED_AGAIN = (*TEMPORARY, "not_signed")
"""Codes that the next run tries again: those of a storage, of a web host that does not answer as it should, which costs
its own photos only, and of a timestamp or key service."""

LIMIT = 50
LEAST = 3
LONGEST_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _First:
    """The first photo of a row of failures. number: its place in the catalog, 0 where it is not known."""

    number: int
    error: DreamCacheError
    started: float


class PhotoFaults:
    """Counts failures in a row. Threads may share it; they are counted as their photos end."""

    def __init__(self, limit: int = LIMIT, longest_s: float = LONGEST_S) -> None:
        self.limit, self.longest_s = limit, longest_s
        self._lock = threading.Lock()
        self._first: _First | None = None
        self._count = 0
        self._verdict: StorageError | None = None

    def check(self) -> None:
        """Raises the StorageError that a call of `observe` has raised before."""
        if self._verdict is not None:
            raise self._verdict

    def observe(self, error: DreamCacheError | None, *, started: float, number: int = 0) -> None:
        """One photo has ended. error: None where it was read. started: `time.monotonic()` when its reading began.

        Raises StorageError, with the failures' own code, once there are too many of them in a row.
        """
        with self._lock:
            self.check()
            if error is None or error.code not in STORAGE_WIDE:
                self._first, self._count = None, 0
                return
            first = self._first
            if first is None or first.error.code != error.code:
                first, self._count = None, 0
            if first is None or number < first.number:
                began = started if first is None else min(started, first.started)
                first = _First(number=number, error=error, started=began)
            self._first = first
            self._count += 1
            lasted = time.monotonic() - first.started
            if self._count >= self.limit or (self._count >= LEAST and lasted >= self.longest_s):
                self._verdict = self._error(first)
                raise self._verdict

    def _error(self, first: _First) -> StorageError:
        place = f"product {first.number} of the catalog: " if first.number else ""
        return StorageError(
            f"{self._count} photos in a row could not be read for the same reason ({first.error.code}), beginning with "
            f"{place}{first.error}",
            code=first.error.code,
        )
