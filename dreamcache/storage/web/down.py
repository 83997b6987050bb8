"""Hosts that do not answer: after some photos in a row the next ones fail at once, for a while.

Ten thousand photos of a host that is down would else take thirty seconds each. Knows names of hosts; asks none.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from dreamcache.storage.web.exchange import ExchangeError

LIMIT = 20
REST_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failing:
    """count: photos in a row. next_s: the time from which one photo is tried again. first: the first one's error."""

    count: int
    next_s: float
    first: str


class DownHosts:
    """Counts by host. Threads may share it."""

    def __init__(self, limit: int = LIMIT, rest_s: float = REST_S) -> None:
        self.limit, self.rest_s = limit, rest_s
        self._failing: dict[str, _Failing] = {}
        self._lock = threading.Lock()

    def check(self, site: str) -> None:
        """Raises ExchangeError `host_unreachable` while the host rests."""
        with self._lock:
            failing = self._failing.get(site)
            if failing is None or failing.count < self.limit:
                return
            now = time.monotonic()
            if now >= failing.next_s:
                # One photo asks whether the host is back; the others wait for its answer.
                self._failing[site] = _Failing(
                    count=failing.count, next_s=now + self.rest_s, first=failing.first
                )
                return
        raise ExchangeError(
            f"host '{site}' did not answer {failing.count} photos in a row and is not asked for {self.rest_s:.0f} s, "
            f"the first: {failing.first}; the same command tries again",
            code="host_unreachable",
        )

    def failed(self, site: str, message: str) -> None:
        """A photo of the host did not arrive."""
        with self._lock:
            before = self._failing.get(site)
            count, first = (before.count + 1, before.first) if before else (1, message)
            resting = before is not None and before.count >= self.limit
            next_s = before.next_s if before and resting else time.monotonic() + self.rest_s
            self._failing[site] = _Failing(count=count, next_s=next_s, first=first)

    def answered(self, site: str) -> None:
        """The host answered, with a photo or without."""
        with self._lock:
            self._failing.pop(site, None)
