"""What a worker tries next and what it does not try at all, as `attempts` answers it. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.errors import DreamCacheError

Units = tuple[str, ...]
"""What is tried at once: item ids of a batch, or the cache key of one photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine:
    """Why a unit is not tried again: `code` is worker_died or timeout. attempts: those it had alone."""

    code: str
    reason: str
    attempts: int

    def error(self, where: str) -> DreamCacheError:
        return DreamCacheError(f"{where}: {self.reason}", code=self.code)


def quarantine(code: str, times: int, timeout_s: float) -> Quarantine:
    """Of a unit that was alone so many times when its process ended, the last time by `code`."""
    if code == "timeout":
        reason = (
            f"took more than failures.item_timeout_s ({timeout_s:g} s) {times} times, alone; see the stack in Ray's "
            f"worker logs, or raise it"
        )
    else:
        reason = (
            f"its worker's process died {times} times while it was the only one in flight (crashed, or killed "
            f"for its memory); see Ray's worker logs, then retry or drop the row"
        )
    return Quarantine(code=code, attempts=times, reason=reason)


OVER_SUBJECT = Quarantine(
    code="subject_budget",
    reason=(
        "its subject has cost limits.max_cost_per_subject, or would with this image; raise the limit, then retry "
        "with --reason subject_budget"
    ),
    attempts=1,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptPlan:
    """What to try one after the other, the most suspect first, and what not to try at all. suspects: so many of the
    groups, the first ones, were in flight when a process died; beside them nothing else may be."""

    groups: tuple[Units, ...]
    quarantined: dict[str, Quarantine]
    suspects: int = 0
