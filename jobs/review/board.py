"""What `gallery --serve` knows of a job while it serves it: its items, what stands of each, and what changed since.

    verdicts of a page --record--> review log --standings--> changes, numbered, for every page that asks

Knows the review log and the manifest; knows nothing of HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.reviews import Reviews, ReviewVerdict, Standing, standings
from jobs.review.record import RecordedReview, record
from jobs.review.verdict_file import GivenVerdict, Problem, parsed

MOST_VERDICTS = 5000
"""Of one request."""
COMPACT_AFTER = 200
"""Requests that recorded something: each is a small object of the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The state of an item as pages see it; `number` rises."""

    number: int
    standing: JsonObject


class Board:
    """Thread-safe. items: the manifest's rows by id, `record.ABOUT` of each. StorageError from every method."""

    def __init__(self, output: str, items: Mapping[str, JsonObject]) -> None:
        self._output, self._items = output, items
        self._reviews = Reviews(output)
        self._lock = threading.Lock()
        self._read: set[str] = set()  # parts of the log
        self._verdicts: dict[str, set[ReviewVerdict]] = {}
        self._standings: dict[str, Standing] = {}
        self._changes: dict[str, Change] = {}
        self._number = self._num_recorded = 0
        self._refresh()

    def record(
        self, rows: Sequence[GivenVerdict | Problem], reviewer: str
    ) -> tuple[RecordedReview, JsonObject]:
        """(what became of the rows, the state of their items now). reviewer: for rows that name nobody."""
        with self._lock:
            self._refresh()
            mine = {row.item_id for row in rows if isinstance(row, GivenVerdict)} & self._items.keys()
            before = [verdict for item_id in mine for verdict in self._verdicts.get(item_id, ())]
            result = record(self._output, rows, reviewer=reviewer, items=self._items, before=before)
            self._num_recorded += bool(result.recorded)
            if self._num_recorded >= COMPACT_AFTER:
                self._reviews.compact()
                self._num_recorded = 0
            self._refresh()
            return result, {item_id: self._seen(item_id) for item_id in mine}

    def changed_since(self, number: int) -> tuple[int, JsonObject]:
        """(the number to ask with next, items that changed since). Also what others recorded."""
        with self._lock:
            self._refresh()
            changed = {item_id: one.standing for item_id, one in self._changes.items() if one.number > number}
            return self._number, changed

    def _refresh(self) -> None:
        """Reads what the log has received; a repeated look is cheap, as no part is read twice."""
        touched: set[str] = set()
        for verdict in self._reviews.verdicts(self._read):
            self._verdicts.setdefault(verdict.item_id, set()).add(verdict)
            touched.add(verdict.item_id)
        if not touched:
            return
        self._number += 1
        now = standings(verdict for item_id in touched for verdict in self._verdicts[item_id])
        for item_id in touched:
            if now.get(item_id) == self._standings.get(item_id):
                continue
            if item_id in now:
                self._standings[item_id] = now[item_id]
            else:
                self._standings.pop(item_id, None)
            self._changes[item_id] = Change(number=self._number, standing=self._seen(item_id))

    def _seen(self, item_id: str) -> JsonObject:
        one = self._standings.get(item_id)
        if one is None:
            return {"state": "pending", "reviewers": [], "reason": "", "note": "", "at": 0}
        return {
            "state": one.state,
            "reviewers": list(one.reviewers),
            "reason": one.reason or "",
            "note": one.note or "",
            "at": round(one.reviewed_at.timestamp() * 1000),
        }


def verdicts_of(body: object) -> list[GivenVerdict | Problem]:
    """Verdicts of a request's JSON. ValueError for a body that is no list of verdicts."""
    rows = body.get("verdicts") if isinstance(body, dict) else None
    if not isinstance(rows, list) or len(rows) > MOST_VERDICTS:
        raise ValueError(f"verdicts must be a list of at most {MOST_VERDICTS}")
    return [_verdict(number, row) for number, row in enumerate(rows, 1)]


def _verdict(number: int, row: object) -> GivenVerdict | Problem:
    values = row if isinstance(row, dict) else {}
    texts = {
        name: value.encode(errors="replace")
        .decode()
        .replace("\0", "")
        .strip()  # half a surrogate pair is no text
        for name, value in values.items()
        if isinstance(name, str) and isinstance(value, str)
    }
    return parsed(number, texts)
