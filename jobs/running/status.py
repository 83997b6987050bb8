"""The status of one run while it goes: status.json, its notes, and the gauge of items without a record.

Knows the output folder; knows nothing of Ray.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dreamcache.core.errors import StorageError
from dreamcache.core.texts import one_line
from dreamcache.storage.driver import Driver, this_driver
from dreamcache.storage.events import EventLog
from dreamcache.storage.open_store import open_store
from dreamcache.storage.status import (
    HEARTBEAT_S,
    STATUS_FILE,
    Kind,
    NewerStatusError,
    State,
    Status,
    now,
    read_status,
    status_bytes,
    write_status,
)
from workers.telemetry import Telemetry

MAX_NOTES = 100
"""The newest ones: a run of days may have any number."""


def _no_details() -> Mapping[str, Any]:
    return {}


def _previous(output: str) -> tuple[Status | None, StorageError | None]:
    """The status of the run before, and what is wrong with its file: a damaged one stops no run."""
    try:
        return read_status(output), None
    except NewerStatusError:
        raise
    except StorageError as error:
        if error.code != "bad_status":
            raise
        return None, error


def _first_status(
    kind: Kind, name: str, previous: Status | None, *, address: str | None, driver: Driver
) -> Status:
    """A run that has just begun. What a job has cost outlasts a run that ends before its first image, and so do its
    counts: until the plan is counted anew, the last count is the best there is."""
    spent = (previous.details if previous else {}).get("spent")
    before = previous if previous is not None and previous.kind == kind else None
    moment = now()
    return Status(
        kind=kind,
        name=name,
        state="starting",
        started_at=moment,
        updated_at=moment,
        unit=before.unit if before else "images",
        total=before.total if before else 0,
        counts=dict(before.counts) if before else {},
        address=address,
        driver=driver,
        heartbeat_at=moment,
        details={"spent": spent} if spent else {},
    )


class RunStatus:
    """The one writer of a run's status, whatever it runs. All methods may be called from any thread.

    previous: the status of the run before, None for the first one. by_workers: the workers write status.json too, so
    that their newest word is the base of what the driver adds. current_details: called at each write, for what changes
    all the time (a job's costs). check: raises KeyboardInterrupt when one was requested (see `claimed_run`). record:
    of the run's events, and the driver's log. limits: of its costs, by unit, for the metrics.
    on_end: called once the end is recorded.
    """

    def __init__(
        self,
        output: str,
        kind: Kind,
        name: str,
        *,
        address: str | None = None,
        quiet: bool = False,
        by_workers: bool = False,
    ) -> None:
        self.output, self.quiet = output, quiet
        self.previous, fault = _previous(output)
        self.current_details: Callable[[], Mapping[str, Any]] = _no_details
        self.check: Callable[[], None] = lambda: None
        self.on_end: Callable[[Status], None] = lambda status: None
        self.limits: Mapping[str, float | None] = {}
        self._by_workers = by_workers
        self._lock = threading.RLock()
        self._telemetry = Telemetry(output, "driver") if kind == "job" else None
        self._written = time.monotonic()
        driver = this_driver()
        self.current = _first_status(kind, name, self.previous, address=address, driver=driver)
        self.record = EventLog(output, driver.run_id)
        if fault is not None:
            self.note(f"status.json is written anew, and costs are counted from 0: {fault}")

    def update(self, *, details: Mapping[str, Any] | None = None, **changes: Any) -> Status:
        """Changes fields of Status; details are added to those there are. Writes nothing."""
        with self._lock:
            merged = {**self.current.details, **(details or {}), **self.current_details()}
            self.current = replace(self.current, updated_at=now(), details=merged, **changes)
            return self.current

    def write(self, *, details: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """`update`, then status.json. Raises StorageError."""
        with self._lock:
            status = self.update(details=details, **changes)
            self.current = status = replace(status, heartbeat_at=status.updated_at)
            write_status(self.output, status)
            self._written = time.monotonic()

    def beat(self) -> None:
        """A sign of life, where the last one is HEARTBEAT_S ago and the run has not ended. Raises StorageError."""
        with self._lock:
            if time.monotonic() - self._written < HEARTBEAT_S or self.current.has_ended:
                return
            if self._by_workers:
                self._beat_beside_workers()
                self._written = time.monotonic()
            else:
                self.write()

    def _beat_beside_workers(self) -> None:
        """Changes the workers' newest status, and nothing where they write one at this moment: that is a sign too."""
        files = open_store(self.output)
        info = files.stat(STATUS_FILE)
        status = _previous(self.output)[0]
        if info is not None and status is not None and not status.has_ended:
            files.replace(STATUS_FILE, status_bytes(replace(status, heartbeat_at=now())), info.etag)

    def tick(self) -> None:
        """About once a second while it runs: what waits to be recorded, and what Ray forgets unless it is set again
        and again."""
        self.record.flush_if_due()
        if self._telemetry is not None:
            self._telemetry.remaining(self.current.remaining)
            spent = self.current_details().get("spent", {})
            hours = {unit: value for unit, value in spent.items() if unit != "cost"}
            self._telemetry.costs(hours, self.limits)

    def count_unrunnable(self, codes: Iterable[str]) -> None:
        """Items that failed at planning, for the metrics."""
        if self._telemetry is not None:
            self._telemetry.unrunnable(codes)

    def end(
        self, state: State, reason: str | None = None, *, details: Mapping[str, Any] | None = None
    ) -> None:
        """The last word. reason: why a run stopped before its end. Raises StorageError."""
        self.reload()
        self.record.add(state, reason=reason, counts=dict(self.current.counts), total=self.current.total)
        self.record.line(f"{state}{f': {reason}' if reason else ''}")
        self.record.flush()
        self.write(state=state, exit_reason=reason, eta_s=None, details=details)
        self.on_end(self.current)

    def reload(self) -> Status:
        """The newest status, also where workers write it."""
        if self._by_workers:
            with self._lock:
                self.current = _previous(self.output)[0] or self.current
        return self.current

    def note(self, text: str) -> None:
        """The user should hear of this, now and in status.json."""
        with self._lock:
            self.current = replace(self.current, notes=(*self.current.notes, text)[-MAX_NOTES:])
        self.record.add("note", text=text)
        self.record.line(f"note: {text}")
        if not self.quiet:
            print(f"note: {one_line(text)}", file=sys.stderr, flush=True)
