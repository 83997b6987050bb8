"""The review log: what stands of several verdicts, in whatever order they come, and that nothing in it changes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.compaction import FAN
from dreamcache.storage.reviews import Decision, Reviews, ReviewVerdict, standings

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
ITEM = "ab" * 32


def verdict(
    reviewer: str, decision: Decision, minute: int, *, final: bool = False, recorded: int | None = None,
    item: str = ITEM, reason: str | None = None,
) -> ReviewVerdict:  # fmt: skip
    return ReviewVerdict(
        item_id=item,
        decision=decision,
        reviewer=reviewer,
        decided_at=NOON + timedelta(minutes=minute),
        recorded_at=NOON + timedelta(minutes=minute if recorded is None else recorded),
        is_final=final,
        subject_id="mug",
        prompt="a mug",
        sample=0,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ([verdict("ana", "approved", 0)], "approved"),
        ([verdict("ana", "approved", 0), verdict("ana", "rejected", 1)], "rejected"),
        ([verdict("ana", "approved", 0), verdict("ana", "withdrawn", 1)], None),
        ([verdict("ana", "approved", 0), verdict("ben", "rejected", 1)], "conflict"),
        ([verdict("ana", "approved", 0), verdict("ben", "approved", 1)], "approved"),
        ([verdict("ana", "approved", 0), verdict("ben", "rejected", 1), verdict("ben", "withdrawn", 2)], "approved"),
        ([verdict("ana", "approved", 0), verdict("ben", "rejected", 1), verdict("ana", "rejected", 2)], "rejected"),
        ([verdict("ana", "approved", 0), verdict("ben", "rejected", 1), verdict("lead", "approved", 2, final=True)],
         "approved"),
        # What was decided earlier and recorded after the final one was not known to who settled it.
        ([verdict("lead", "approved", 2, final=True), verdict("ben", "rejected", 1, recorded=3)], "conflict"),
        ([verdict("ana", "approved", 0), verdict("lead", "withdrawn", 1, final=True)], None),
    ],
)  # fmt: skip
def test_what_stands(verdicts: list[ReviewVerdict], state: str | None) -> None:
    for order in itertools.permutations(verdicts):
        standing = standings(order).get(ITEM)
        assert (standing.state if standing else None) == state


def test_a_conflict_names_both_and_keeps_the_reason() -> None:
    standing = standings([
        verdict("ben", "rejected", 0, reason="wrong colour"), verdict("ana", "approved", 1),
    ])[ITEM]  # fmt: skip
    assert dict(standing.reviewers) == {"ana": "approved", "ben": "rejected"}
    assert standing.reason == "wrong colour" and standing.reviewed_at == NOON + timedelta(minutes=1)


def test_the_log_only_grows_and_parts_are_merged(tmp_path: Path) -> None:
    reviews = Reviews(str(tmp_path))
    assert (reviews.version(), reviews.standings(), reviews.retried()) == ("", {}, frozenset())
    for number in range(FAN + 3):
        reviews.append([verdict("ana", "approved", number, item=f"{number:064x}")])
    before, files = reviews.standings(), set((tmp_path / "review").iterdir())
    assert len(files) == FAN + 3
    reviews.append([verdict("ana", "approved", 0, item=f"{0:064x}")])
    assert set((tmp_path / "review").iterdir()) == files, "the same verdict is the same part"
    assert reviews.compact() == FAN - 1
    assert reviews.standings() == before and reviews.compact() == 0
    version = reviews.version()
    reviews.append_retried([ITEM], NOON)
    assert reviews.retried() == {ITEM} and reviews.version() != version


def test_a_damaged_part_names_itself(tmp_path: Path) -> None:
    reviews = Reviews(str(tmp_path))
    reviews.append([verdict("ana", "approved", 0)])
    (part,) = (tmp_path / "review").iterdir()
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StorageError, match=part.name) as caught:
        reviews.standings()
    assert caught.value.code == "bad_review_log"
