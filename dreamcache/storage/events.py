"""The record of an output's runs: what happened and when, and the driver's log; it outlives the cluster.

    run -> EventLog -> events/<run's start>-<run id>-<number>.jsonl | .log -> read_events, read_log -> `dreamcache logs`

Append-only: a part is written once and never changed, and parts in the order of their names are one log. Knows parts
and lines; knows nothing of what an event means, nor of Ray.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.core.texts import one_line
from dreamcache.storage.bounded import IsFolder, NotRegular, TooLarge
from dreamcache.storage.open_store import open_store, read_bounded
from dreamcache.storage.store import join

FOLDER = "events"
PART = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{16})-(\d{5,9})\.(jsonl|log)")
URGENT_S, CALM_S = 5.0, 120.0
"""Seconds after which lines that wait are written, urgent ones and others: a job of days has few parts."""
MOST_WAITING = 20_000
MAX_PART_BYTES = 16 << 20
MAX_LINE = 4_000

Event = dict[str, Any]
"""at (ISO 8601, UTC), run, event, and facts of the event."""


class EventLog:
    """The writer of one run. All methods may be called from any thread, and raise nothing: a record that cannot be
    written now waits, and in the end is given up; no run ends for its sake."""

    def __init__(self, output: str, run_id: str, *, now: datetime | None = None) -> None:
        self._store = open_store(join(output, FOLDER))
        self._name = f"{(now or datetime.now(UTC)).strftime('%Y%m%dT%H%M%SZ')}-{run_id}"
        self._run_id = run_id
        self._waiting: dict[str, list[str]] = {"jsonl": [], "log": []}
        self._dropped = 0
        self._number = 0
        self._since: float | None = None
        self._is_urgent = False
        self._lock = threading.RLock()
        self._writing = threading.RLock()

    def add(self, event: str, *, at: float | None = None, urgent: bool = True, **facts: object) -> None:
        """One event. at: seconds since 1970, now by default. urgent: it is written within URGENT_S."""
        moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
        value = {
            "at": moment.isoformat(timespec="milliseconds"),
            "run": self._run_id,
            "event": event,
            **facts,
        }
        self._wait("jsonl", json.dumps(value, ensure_ascii=False, default=str), urgent)

    def line(self, text: str, *, urgent: bool = False) -> None:
        """Lines of the driver's log, with the time before each."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for line in text.splitlines() or [""]:
            self._wait("log", f"{stamp} {one_line(line)[:MAX_LINE]}", urgent)

    def _wait(self, kind: str, line: str, urgent: bool) -> None:
        with self._lock:
            waiting = self._waiting[kind]
            if len(waiting) >= MOST_WAITING:
                self._dropped += 1
                return
            waiting.append(line)
            self._since = self._since or time.monotonic()
            self._is_urgent = self._is_urgent or urgent

    def flush_if_due(self) -> None:
        """Writes what waits, where it has waited long enough; to be called about once a second."""
        with self._lock:
            waited = 0.0 if self._since is None else time.monotonic() - self._since
            is_due = waited >= (URGENT_S if self._is_urgent else CALM_S)
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Writes what waits. Lines that come meanwhile wait for the next time, and wait for no storage here."""
        with self._writing:
            with self._lock:
                if self._dropped:
                    text = f"{self._dropped} lines could not be written in time and were dropped"
                    self._waiting["log"].append(text)
                    self._dropped = 0
                taken = {kind: lines for kind, lines in self._waiting.items() if lines}
                self._waiting = {kind: [] for kind in self._waiting}
                was_urgent, self._since, self._is_urgent = self._is_urgent, None, False
            failed = {kind: lines for kind, lines in taken.items() if not self._write(kind, lines)}
            if failed:
                with self._lock:  # it is tried again after as long
                    for kind, lines in failed.items():
                        self._waiting[kind] = lines + self._waiting[kind]
                    self._since, self._is_urgent = time.monotonic(), was_urgent

    def _write(self, kind: str, lines: list[str]) -> bool:
        self._number += 1
        text = "".join(f"{line}\n" for line in lines)
        try:
            return self._store.create(
                f"{self._name}-{self._number:05d}.{kind}", text.encode("utf-8", "backslashreplace")
            )
        except (DreamCacheError, OSError):
            return False  # the number is not used again: the part may be there though no answer came


def part_names(output: str, kind: str) -> list[str]:
    """Names of the parts of a kind ("jsonl" or "log"), oldest run first; other files are passed over."""
    store = open_store(join(output, FOLDER))
    keys = (store.key_of(info.uri) for info in store.list())
    return sorted(key for key in keys if (match := PART.fullmatch(key)) and match[3] == kind)


def read_events(output: str, after: str = "") -> Iterator[tuple[str, Event]]:
    """(name of its part, event), oldest first, of the parts whose names come after `after`.

    A line that is no event is passed over as {"event": "unreadable"}. Raises StorageError.
    """
    for name, text in _parts(output, "jsonl", after):
        for line in text.splitlines():
            yield name, _event(line)


def read_log(output: str, after: str = "") -> Iterator[tuple[str, str]]:
    """(name of its part, lines) of the driver's log, oldest first. Raises StorageError."""
    return _parts(output, "log", after)


def _parts(output: str, kind: str, after: str) -> Iterator[tuple[str, str]]:
    for name in part_names(output, kind):
        if name > after:
            uri = join(output, FOLDER, name)
            try:
                yield name, read_bounded(uri, MAX_PART_BYTES).decode("utf-8", "replace")
            except FileNotFoundError:
                continue
            except (TooLarge, NotRegular, IsFolder) as error:
                raise StorageError(
                    f"{error}; a run did not write it, delete it", code="bad_status"
                ) from error


def _event(line: str) -> Event:
    unreadable = {"at": "", "run": "", "event": "unreadable", "line": line[:200]}
    try:
        value = json.loads(line)
        datetime.fromisoformat(value["at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return unreadable
    texts = isinstance(value.get("run"), str) and isinstance(value.get("event"), str)
    return value if texts else unreadable
