"""What people decided about the images of a job: an append-only log of verdicts, and of rejected items tried again.

    verdicts --append--> review/verdicts-<hash>.parquet --standings--> item_id -> Standing
    retry    --------->  review/retried-<hash>.parquet  --retried----> ids that later plans replace

A verdict is never changed. A reviewer's newest verdict counts for that reviewer; where reviewers differ, the item is in
`conflict` until one of them decides otherwise, or a verdict marked final settles it. Knows verdicts; not images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.records import Int32
from dreamcache.storage.compaction import compact_log
from dreamcache.storage.item_keys import is_item_id
from dreamcache.storage.part_log import LogSettings, PartFormat, PartLog
from dreamcache.storage.schema import schema_of
from dreamcache.storage.store import join

FOLDER = "review"
Decision = Literal["approved", "rejected", "withdrawn"]
DECISIONS: tuple[Decision, ...] = ("approved", "rejected", "withdrawn")
State = Literal["approved", "rejected", "conflict"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewVerdict:
    """One decision of one person about one image.

    decided_at: by the reviewer's clock; recorded_at: by the recorder's. is_final: settles what others decided before
    it was recorded. subject_id, prompt, sample, overrides: what the image was generated for.
    """

    item_id: str
    decision: Decision
    reviewer: str
    decided_at: datetime
    recorded_at: datetime
    is_final: bool
    subject_id: str
    prompt: str
    sample: Int32
    overrides: str | None = None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried:
    """A rejected item in whose place a later plan has another one."""

    item_id: str
    retried_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What stands of all verdicts about one item. reviewers: who decided what, by name; reason, note: of the newest
    verdict that has one, rejections first."""

    state: State
    reviewers: Mapping[str, Decision]
    reason: str | None
    note: str | None
    reviewed_at: datetime
    subject_id: str
    prompt: str
    sample: int
    overrides: str | None


def _wrong(table: pa.Table) -> str | None:
    if not all(is_item_id(item_id) for item_id in table["item_id"].to_pylist()):
        return "names an item by what no id is"
    unknown = (
        set(table["decision"].to_pylist()) - set(DECISIONS) if "decision" in table.column_names else set()
    )
    return f"has a decision that is none of {', '.join(DECISIONS)}" if unknown else None


_REMEDY = "restore it from a copy, or delete it and record its review.csv again"
VERDICTS = LogSettings(
    format=PartFormat(
        family="dreamcache.verdicts/", number=1, schema=schema_of(ReviewVerdict, required=True)
    ),
    what="a part of the review log",
    code="bad_review_log",
    remedy=_REMEDY,
    prefix="verdicts-",
    problem=_wrong,
)
RETRIED = LogSettings(
    format=PartFormat(family="dreamcache.retried/", number=1, schema=schema_of(Retried, required=True)),
    what="a list of rejected items that were retried",
    code="bad_review_log",
    remedy="restore it from a copy",
    prefix="retried-",
    problem=_wrong,
)


class Reviews:
    """The review log below one job's output. StorageError when the location cannot be used."""

    def __init__(self, output_uri: str) -> None:
        folder = join(output_uri, FOLDER)
        self._verdicts = PartLog(folder, VERDICTS)
        self._retried = PartLog(folder, RETRIED)

    def append(self, verdicts: Sequence[ReviewVerdict]) -> None:
        """Writes one part. The same decisions recorded twice at the same time are one part."""
        if verdicts:
            rows = sorted(
                (asdict(one) for one in verdicts), key=lambda row: (row["item_id"], row["reviewer"])
            )
            table = pa.Table.from_pylist(rows, schema=VERDICTS.format.schema)
            self._verdicts.append(ids.of_bytes(VERDICTS.format.seal(table)), table)

    def append_retried(self, item_ids: Iterable[str], retried_at: datetime) -> None:
        """From now on plans have other items in the place of these."""
        rows = [{"item_id": item_id, "retried_at": retried_at} for item_id in sorted(item_ids)]
        if rows:
            table = pa.Table.from_pylist(rows, schema=RETRIED.format.schema)
            self._retried.append(ids.of_values("retried", items=[row["item_id"] for row in rows]), table)

    def version(self) -> str:
        """Changes with every verdict and retry; "" while there are none."""
        names = sorted(info.uri.rsplit("/", 1)[-1] for info in self._verdicts.store.list())
        return ids.of_values("review-version", names=names) if names else ""

    def retried(self) -> frozenset[str]:
        """Ids of all items that were retried. In memory, about 200 bytes each. StorageError `bad_review_log`."""
        return frozenset(
            item_id for table in self._retried.scan() for item_id in table["item_id"].to_pylist()
        )

    def verdicts(self, seen: set[str] | None = None) -> list[ReviewVerdict]:
        """All verdicts, each once, in memory. StorageError `bad_review_log` when a part is damaged.

        seen: as of `PartLog.scan`: parts to pass over, to which those read now are added.
        """
        rows = (ReviewVerdict(**row) for table in self._verdicts.scan(seen) for row in table.to_pylist())
        return list(dict.fromkeys(rows))

    def standings(self) -> dict[str, Standing]:
        """What stands, of every item with a verdict that was not withdrawn. In memory, about 1 kB each."""
        return standings(self.verdicts())

    def in_state(self, state: State) -> list[str]:
        """Ids of the items in this state."""
        return [item_id for item_id, one in self.standings().items() if one.state == state]

    def compact(self) -> int:
        """See `compact_log`."""
        return compact_log(self._verdicts, pa.concat_tables)


def standings(verdicts: Iterable[ReviewVerdict]) -> dict[str, Standing]:
    """What stands of these verdicts, by item. The order in which they come never matters."""
    of_item: dict[str, list[ReviewVerdict]] = {}
    for verdict in verdicts:
        of_item.setdefault(verdict.item_id, []).append(verdict)
    resolved = {item_id: _standing(some) for item_id, some in sorted(of_item.items())}
    return {item_id: standing for item_id, standing in resolved.items() if standing is not None}


def newest_of(verdicts: Iterable[ReviewVerdict]) -> dict[str, ReviewVerdict]:
    """By reviewer, of all verdicts about one item, the one that counts: none that a final one has voided."""
    verdicts = list(verdicts)
    finals = [one for one in verdicts if one.is_final]
    if finals:
        last = max(finals, key=lambda one: (one.recorded_at, _order(one)))
        verdicts = [one for one in verdicts if one.recorded_at > last.recorded_at or one is last]
    return {one.reviewer: one for one in sorted(verdicts, key=_order)}


def _standing(verdicts: list[ReviewVerdict]) -> Standing | None:
    """None where nothing stands."""
    newest = newest_of(verdicts)
    standing = sorted((one for one in newest.values() if one.decision != "withdrawn"), key=_order)
    if not standing:
        return None
    decisions = {one.decision for one in standing}
    explained = sorted(standing, key=lambda one: (one.decision == "rejected", _order(one)), reverse=True)
    last = standing[-1]
    return Standing(
        state="conflict" if len(decisions) > 1 else "approved" if "approved" in decisions else "rejected",
        reviewers={one.reviewer: one.decision for one in sorted(standing, key=lambda one: one.reviewer)},
        reason=next((one.reason for one in explained if one.reason), None),
        note=next((one.note for one in explained if one.note), None),
        reviewed_at=last.decided_at,
        subject_id=last.subject_id,
        prompt=last.prompt,
        sample=last.sample,
        overrides=last.overrides,
    )


def _order(verdict: ReviewVerdict) -> tuple[datetime, datetime, str, str, str]:
    """Of two verdicts of one person the later decision counts; the rest only makes the order total."""
    return (
        verdict.decided_at, verdict.recorded_at, verdict.decision, verdict.reason or "", verdict.note or "",
    )  # fmt: skip
