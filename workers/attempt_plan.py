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
