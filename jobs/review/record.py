"""Verdicts into the review log: checked against the manifest, recorded once, conflicts named.

    verdicts + manifest --record--> RecordedReview: what was recorded, what was not and why, and conflicts

Nothing of a file is lost: a row is recorded, was recorded before, or is reported with its problem.
Knows the manifest and the review log; not where the verdicts come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.reviews import Reviews, ReviewVerdict, Standing, newest_of, standings
from jobs.output.reader import Manifest
from jobs.review.verdict_file import GivenVerdict, Problem

ROWS_AT_ONCE = 16_384
ABOUT = ("item_id", "status", "subject_id", "prompt", "sample", "overrides")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedReview:
    """repeated: rows that say what the log says already, and those without a time that a later row replaces.
    conflicts: of the items of these rows, by id."""

    recorded: int = 0
    repeated: int = 0
    problems: tuple[Problem, ...] = ()
    conflicts: Mapping[str, Standing] = field(default_factory=dict)

    def as_dict(self) -> JsonObject:
        return {
            "recorded": self.recorded,
            "repeated": self.repeated,
            "problems": [
                {"row": one.row, "item_id": one.item_id, "message": one.message} for one in self.problems
            ],
            "conflicts": [conflict_of(item_id, one) for item_id, one in self.conflicts.items()],
        }


def conflict_of(item_id: str, standing: Standing) -> JsonObject:
    """An item on which reviewers differ, with who decided what."""
    return {
        "item_id": item_id,
        "subject_id": standing.subject_id,
        "prompt": standing.prompt,
        "sample": standing.sample,
        "verdicts": dict(standing.reviewers),
    }


def record(
    output: str,
    rows: Iterable[GivenVerdict | Problem],
    *,
    reviewer: str = "",
    is_final: bool = False,
    items: Mapping[str, JsonObject] | None = None,
    before: Sequence[ReviewVerdict] | None = None,
) -> RecordedReview:
    """Records what is new of the rows.

    reviewer: for rows that name none. is_final: settles conflicts. items: `items_of`, and before: the log's verdicts
    about the rows' items, where these are known already. Raises StorageError `no_manifest`, or those of the storage.
    """
    rows = list(rows)
    verdicts = [row for row in rows if isinstance(row, GivenVerdict)]
    reviews = Reviews(output)
    known = items if items is not None else items_of(output, {row.item_id for row in verdicts})
    retried = reviews.retried()
    before = reviews.verdicts() if before is None else before
    sound: list[ReviewVerdict] = []
    problems = [row for row in rows if isinstance(row, Problem)]
    now = datetime.now(UTC)
    for row in sorted(verdicts, key=lambda row: (row.decided_at or now, row.row)):
        name = row.reviewer or reviewer
        problem = _problem(row, name, known.get(row.item_id), row.item_id in retried)
        if problem is not None:
            problems.append(Problem(row=row.row, item_id=row.item_id, message=problem))
        else:
            sound.append(_verdict(row, name, known[row.item_id], now, is_final))
    new = _new(_last_of_untimed(sound), before)
    reviews.append(new)
    items_here = {row.item_id for row in verdicts}
    after = standings(one for one in (*before, *new) if one.item_id in items_here)
    return RecordedReview(
        recorded=len(new),
        repeated=len(sound) - len(new),
        problems=tuple(sorted(problems, key=lambda one: one.row)),
        conflicts={item_id: one for item_id, one in after.items() if one.state == "conflict"},
    )


def _last_of_untimed(verdicts: Sequence[ReviewVerdict]) -> list[ReviewVerdict]:
    """Without the rows that a later one of the same reviewer replaces: those without a time share one, so that their
    order is known in the file alone. verdicts: in the file's order."""
    last = {(one.item_id, one.reviewer): one for one in verdicts if _is_untimed(one)}
    return [one for one in verdicts if not _is_untimed(one) or one is last[one.item_id, one.reviewer]]


def _is_untimed(verdict: ReviewVerdict) -> bool:
    return verdict.decided_at == verdict.recorded_at


def _new(verdicts: Sequence[ReviewVerdict], before: Sequence[ReviewVerdict]) -> list[ReviewVerdict]:
    """Those that the log does not have.

    A row without a time, which was decided when it is recorded, is known by what it says: it is new where it differs
    from its reviewer's verdict that counts.
    """
    log: dict[str, list[ReviewVerdict]] = {}
    for one in before:
        log.setdefault(one.item_id, []).append(one)
    seen = {_identity(one) for one in before}
    new: list[ReviewVerdict] = []
    for verdict in verdicts:
        of_item = log.setdefault(verdict.item_id, [])
        is_known = _identity(verdict) in seen
        if _is_untimed(verdict):
            is_known |= _says_the_same(newest_of(of_item).get(verdict.reviewer), verdict)
        if not is_known:
            seen.add(_identity(verdict))
            of_item.append(verdict)
            new.append(verdict)
    return new


def items_of(output: str, item_ids: Iterable[str]) -> dict[str, JsonObject]:
    """The manifest's rows of these items, ABOUT of each; it is not read for none. Raises StorageError `no_manifest`."""
    wanted = pa.array(sorted(set(item_ids)), pa.string())
    rows: dict[str, dict[str, Any]] = {}
    if not len(wanted):
        return rows
    for batch in Manifest(output).batches(ROWS_AT_ONCE, ABOUT):
        table = pa.Table.from_batches([batch])
        for row in table.filter(pc.is_in(table["item_id"], value_set=wanted)).to_pylist():
            rows[row["item_id"]] = row
        if len(rows) == len(wanted):
            break
    return rows


def _problem(row: GivenVerdict, name: str, item: Mapping[str, Any] | None, is_retried: bool) -> str | None:
    if not name:
        return "must name its reviewer; fill the column, or use --reviewer NAME"
    if is_retried:
        return "was rejected and tried again since; review the image that is in its place"
    if item is None:
        return "is no item of this job's manifest; use the output that the page was written from"
    if item.get("status") != "done":
        return f"has no image, its status is {item.get('status')}"
    return None


def _verdict(
    row: GivenVerdict, name: str, item: Mapping[str, Any], now: datetime, is_final: bool
) -> ReviewVerdict:
    return ReviewVerdict(
        item_id=row.item_id,
        decision=row.decision,
        reviewer=name,
        decided_at=row.decided_at or now,
        recorded_at=now,
        is_final=is_final,
        subject_id=item.get("subject_id") or "",
        prompt=item.get("prompt") or "",
        sample=item.get("sample") or 0,
        overrides=item.get("overrides"),
        reason=row.reason,
        note=row.note,
    )


def _identity(verdict: ReviewVerdict) -> tuple[object, ...]:
    return (
        verdict.item_id, verdict.reviewer, verdict.decision, verdict.decided_at, verdict.reason, verdict.note,
        verdict.is_final,
    )  # fmt: skip


def _says_the_same(before: ReviewVerdict | None, verdict: ReviewVerdict) -> bool:
    """Whether the reviewer's verdict that counts is this one already. A final one settles what came in between."""
    if before is None:
        return verdict.decision == "withdrawn"
    same = (before.decision, before.reason, before.note) == (verdict.decision, verdict.reason, verdict.note)
    return same and not verdict.is_final
