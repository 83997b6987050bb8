"""What review changes in a plan: rejected items that were retried are replaced, approved images keep their place.

    id of a planned item --in retried?--> the id that follows from it, and so on --> an id that nobody retried
    subject, prompt, sample --approved?--> the id of the approved image, where `keep_approved` asks for it

Without a retry and without `keep_approved` a plan has no item of another id. Knows the review log and the ledger; knows
no catalog.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.records import next_template
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.reviews import Reviews, Standing

_NEXT = next_template()
MOST_REPLACEMENTS = 10_000
"""Of one item: so many rejections are no review, but a damaged log."""


def slot_of(subject_id: str, prompt: str, sample: int, overrides: str | None) -> bytes:
    """Names what an image was generated for, whatever the job's settings were. overrides: its scene's or row's own."""
    text = f"{subject_id}\0{prompt}\0{sample}\0{overrides or ''}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reviewed:
    """retried: ids, as bytes, that other items take the place of. kept: ids of approved images, by slot."""

    retried: frozenset[bytes] = frozenset()
    kept: Mapping[bytes, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.retried or self.kept)

    @staticmethod
    def of_output(output: str, *, keep_approved: bool = False) -> Reviewed:
        """By the review log of an output. StorageError `bad_review_log` or `bad_ledger` when it is damaged."""
        reviews = Reviews(output)
        standings = (
            reviews.standings()
        )  # in any case: a damaged log is reported before the run, not at its end
        retried = frozenset(bytes.fromhex(item_id) for item_id in reviews.retried() if _is_digest(item_id))
        return Reviewed(retried=retried, kept=_kept(output, standings) if keep_approved else {})

    def in_place_of(self, own: bytes, seeding: bytes, slot: bytes) -> tuple[bytes, bytes]:
        """(id, what the seed derives from) of the item to plan. own, seeding: of the item without any review."""
        kept = self.kept.get(slot)
        if kept is not None and kept != own:
            return kept, kept if own == seeding else seeding
        for _ in range(MOST_REPLACEMENTS):
            if own not in self.retried:
                break
            own, seeding = _next(own), _next(seeding)
        return own, seeding


NOT_REVIEWED = Reviewed()


def _kept(output: str, standings: Mapping[str, Standing]) -> dict[bytes, bytes]:
    """Approved images that the ledger has: what was deleted since must be generated under its own id."""
    approved = {
        item_id: standing
        for item_id, standing in standings.items()
        if standing.state == "approved" and _is_digest(item_id)
    }
    if not approved:
        return {}
    wanted, there = pa.array(list(approved), pa.string()), set[str]()
    for table in Ledger(output).scan():
        mine = table.filter(pc.is_in(table["item_id"], value_set=wanted))
        there.update(mine.filter(pc.equal(mine["status"], "done"))["item_id"].to_pylist())
    # Of several approved images of one slot the newest decision counts.
    order = sorted(there, key=lambda item_id: (approved[item_id].reviewed_at, item_id))
    return {
        slot_of(one.subject_id, one.prompt, one.sample, one.overrides): bytes.fromhex(item_id)
        for item_id, one in ((item_id, approved[item_id]) for item_id in order)
    }


def _is_digest(item_id: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", item_id) is not None


def _next(digest: bytes) -> bytes:
    return bytes.fromhex(_NEXT.key(item=digest.hex()))
