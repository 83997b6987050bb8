"""Rejected images, and the items that take their place. Knows the manifest and the review log; generates nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.reviews import Reviews
from jobs.export.rows import Rows

NO_REASON = ""


def replace_rejected(output: str, reasons: Collection[str]) -> int:
    """From now on plans have the next item in the place of each rejected one; returns how many there are.

    reasons: of the reviewers, empty for all. Raises StorageError `no_manifest` before a run has begun.
    """
    item_ids = [row["item_id"] for row in _rejected(output, reasons)]
    Reviews(output).append_retried(item_ids, datetime.now(UTC))
    return len(item_ids)


def count_rejected(output: str, reasons: Collection[str]) -> list[JsonObject]:
    """What `replace_rejected` would replace: status "rejected", the reviewers' reason as code, items, and one note."""
    counts: Counter[str] = Counter()
    notes: dict[str, str | None] = {}
    for row in _rejected(output, reasons):
        reason = row["review_reason"] or NO_REASON
        counts[reason] += 1
        notes[reason] = notes.get(reason) or row["review_note"]
    return [
        {"status": "rejected", "code": reason, "items": number, "example": notes[reason]}
        for reason, number in counts.most_common()
    ]


def _rejected(output: str, reasons: Collection[str]) -> Iterator[dict[str, Any]]:
    rows = Rows(output, {})
    if "review" not in rows.columns:  # a manifest of an older release, and nobody has reviewed
        return
    retried = Reviews(output).retried()
    for row in Rows(output, {"review": "rejected"}, rows.manifest):
        if row["item_id"] not in retried and (not reasons or (row["review_reason"] or NO_REASON) in reasons):
            yield row
