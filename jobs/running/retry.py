"""Which failed and blocked items are tried again, and how many of each reason there are. Knows records, manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.core.records import Outcome
from jobs.export.rows import Rows

STATUSES = ("failed", "blocked")


def chooser(reasons: Collection[str], statuses: Collection[str]) -> Callable[[Outcome], bool]:
    """For `runner.run(retry=...)`; empty collections choose all. Raises SpecError for another status."""
    for status in statuses:
        if status not in STATUSES:
            raise SpecError(f"--status {status}: must be failed or blocked{did_you_mean(status, STATUSES)}")

    def chosen(outcome: Outcome) -> bool:
        code = getattr(outcome, "code", None)
        return (not reasons or code in reasons) and (not statuses or outcome.status in statuses)

    return chosen


def count_reasons(output: str, reasons: Collection[str], statuses: Collection[str]) -> list[dict[str, Any]]:
    """What a retry would try again, by the manifest: status, code, items, and one message.

    Raises StorageError `no_manifest` before a run has begun.
    """
    chooser(reasons, statuses)  # refuses a wrong status
    counts: Counter[tuple[str, str]] = Counter()
    messages: dict[tuple[str, str], str] = {}
    for row in Rows(output, {}):
        if row["status"] in (statuses or STATUSES) and (not reasons or row["code"] in reasons):
            counts[row["status"], row["code"]] += 1
            messages.setdefault((row["status"], row["code"]), row["message"])
    return [
        {"status": status, "code": code, "items": number, "example": messages[status, code]}
        for (status, code), number in counts.most_common()
    ]
