"""How a run stands as seen from outside: a run whose driver died cannot write that it did.

    Status, this moment -> SeenRun(state, reason): the recorded state, or "lost"

Knows Status and the driver's identity; knows nothing of Ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dreamcache.storage.driver import is_alive
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.status import Status

LOST = "lost"
LOST_AFTER_S = 45.0
"""Without a sign of life a driver on another machine is lost; it writes one every `HEARTBEAT_S` (10 s). The clocks of
both machines must agree within the difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRun:
    """state: one of `status.STATES` or "lost". reason: why the run has ended; None while it runs, or when all is
    done. silent_s: seconds since the last sign of life of a run that has not ended."""

    state: str
    reason: str | None
    silent_s: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in (LOST, "stopped", "failed", "finished")


def seen(status: Status, moment: datetime | None = None) -> SeenRun:
    """The run's state at this moment. Statuses without a driver, of older releases, are as they were recorded."""
    if status.has_ended:
        return SeenRun(state=status.state, reason=status.exit_reason)
    silent = silent_s(status, moment)
    driver = status.driver
    if driver is None:
        return SeenRun(state=status.state, reason=None, silent_s=silent)
    alive = is_alive(driver)
    if alive or (alive is None and silent < LOST_AFTER_S):
        return SeenRun(state=status.state, reason=None, silent_s=silent)
    how = "is gone" if alive is False else f"has given no sign of life for {silent:.0f} s"
    return SeenRun(
        state=LOST,
        reason=f"the driver, process {driver.pid} on {driver.host}, {how} and did not record its end (killed, out of "
        f"memory, or its machine was lost); what is done is kept, the same command resumes",
        silent_s=silent,
    )


def silent_s(status: Status, moment: datetime | None = None) -> float:
    """Seconds since the run's last sign of life, 0 or more."""
    times = [status.updated_at, *([status.heartbeat_at] if status.heartbeat_at else [])]
    last = max(_utc(time) for time in times)
    return max(0.0, ((moment or datetime.now(UTC)) - last).total_seconds())


def as_seen(status: Status, outcome: SeenRun | None = None) -> JsonObject:
    """`Status.as_dict` with the state that is seen; `recorded_state` is the file's. A lost run has no ETA."""
    outcome = outcome or seen(status)
    value = status.as_dict()
    changes = {"state": outcome.state, "recorded_state": status.state, "silent_s": outcome.silent_s}
    if outcome.has_ended:
        changes |= {"exit_reason": outcome.reason, "eta_s": None}
    return {**value, **changes}


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
