"""How many images of a job are approved, rejected, in conflict or pending. Knows the manifest; nothing of pages."""

from __future__ import annotations

from collections import Counter

from dreamcache.core.errors import StorageError
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.reviews import Reviews
from jobs.output.reader import Manifest

STATES = ("approved", "rejected", "conflict", "pending")
ROWS_AT_ONCE = 65_536
MOST_ITEMS = 1_000_000
"""Of a larger job the review log is counted, not the manifest: what it has of items that are planned no more counts."""


def count_reviews(output: str) -> dict[str, int]:
    """Images by state, over the manifest. Raises StorageError `no_manifest` before a run has begun."""
    counts = Counter[str]()
    for batch in Manifest(output).batches(ROWS_AT_ONCE, ("item_id", "status", "review")):
        names = batch.schema.names
        if "review" in names:
            counts.update(batch["review"].to_pylist())
        elif "status" in names:  # of an older release, and nobody has reviewed
            counts["pending"] += batch["status"].to_pylist().count("done")
    return {state: counts[state] for state in STATES}


def counts_for_status(output: str, summary: JsonObject | None) -> dict[str, int] | None:
    """`count_reviews`, cheaply: None before anyone has reviewed, or before there is a manifest.

    summary: manifest.json.
    """
    reviews = Reviews(output)
    if not reviews.version():
        return None
    done = (summary or {}).get("counts", {}).get("done", 0)
    try:
        if done <= MOST_ITEMS:
            return count_reviews(output)
    except StorageError as error:
        if error.code != "no_manifest":
            raise
        return None
    retried = reviews.retried()
    states = (one.state for item_id, one in reviews.standings().items() if item_id not in retried)
    counts: Counter[str] = Counter(states)
    return {**{name: counts[name] for name in STATES}, "pending": max(0, done - counts.total())}
