"""Pruning: deletes the images of items that are planned no more, and the ledger never claims an image that is gone.

    orphans that are done, but those of subjects that cannot be planned now
    --announce--> their records are void --> delete the images --> finished

Announced first (see `storage.pruned` for what that excludes). The next prune repeats the deletion after a crash;
until then no run generates those items again. What remains open: a pruner that is halted within its last
`DELETES` requests, and continues after another has finished its work and after the same item was planned and
generated again, could delete that new image; storage has no conditional delete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dreamcache.core.parallel import run_all
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.open_store import open_store
from dreamcache.storage.reviews import Reviews
from jobs.formatting import format_count
from jobs.planning.planner import Plan
from jobs.reconcile.changes import hashes
from jobs.reconcile.join import Join

DELETES = 100


class Unplannable:
    """Subjects that cannot be planned now: their good images would count as orphans, since what cannot be read has
    other ids than before. `keep` says which images these are; num_kept counts them.

    Holds 8 bytes for each such subject, and for each planned one where a row does not say whose it is.
    """

    def __init__(self, made_plan: Plan) -> None:
        self.num_items = made_plan.num_unrunnable
        self.num_kept = 0
        self._any_unknown = False
        self._has_views = "view" in made_plan.spec.columns
        self._subjects = self._planned = hashes(())
        if self.num_items:
            subjects = []
            for rows in made_plan.unrunnable():
                unknown = [_is_unknown(row) for row in rows.select(_NAMING).to_pylist()]
                self._any_unknown = self._any_unknown or any(unknown)
                subjects.append(hashes(pc.unique(rows["subject_id"]).to_pylist()))
            self._subjects = np.unique(np.concatenate(subjects))
        if self._any_unknown:
            planned = (
                hashes(pc.unique(table.filter(pc.is_null(table["code"]))["subject_id"]).to_pylist())
                for table in made_plan.files.tables(["subject_id", "code"])
            )
            self._planned = np.unique(np.concatenate([hashes(()), *planned]))

    def keep(self, images: pa.Table) -> NDArray[np.bool_]:
        """Of each orphan, whether it stays: its subject cannot be planned now, or may be one that cannot."""
        kept = np.zeros(images.num_rows, dtype=np.bool_)
        if self.num_items:
            whose = images["subject_id"]
            subjects = hashes(pc.fill_null(whose, "").to_pylist())
            kept = np.isin(subjects, self._subjects) | pc.is_null(whose).to_numpy()
            if self._any_unknown and self._has_views:
                kept[:] = True  # the row may be a view of any subject
            elif self._any_unknown:
                kept |= ~np.isin(subjects, self._planned)
        self.num_kept += int(kept.sum())
        return kept

    @property
    def note(self) -> str | None:
        """What was kept and why, once all is decided; None for nothing."""
        if not self.num_kept:
            return None
        which = " or may be of a row that does not say whose it is" if self._any_unknown else ""
        return (
            f"{format_count(self.num_kept, 'image')} that would count as orphans stay: {self.num_items} planned items "
            f"have a photo, row or prompt that cannot be used now, and these images are of the same subjects{which}; "
            f"'dreamcache plan' lists the rows: fix them or take them out of the catalog, then prune again"
        )


_NAMING = ["subject_id", "image", "code"]


def _is_unknown(row: Mapping[str, Any]) -> bool:
    """Whether a row of the plan that cannot run does not say whose it is: a row of the catalog that cannot be read, or
    whose id was cut."""
    subject = row["subject_id"]
    return not subject or (
        not row["image"] and (row["code"] in ("bad_row", "bad_subject_id") or len(subject) >= 80)
    )


def orphans(made_plan: Plan, ledger: Ledger, unplannable: Unplannable | None = None) -> Iterator[pa.Table]:
    """Records of images whose items the plan has no more, resolved; a window of the plan's at a time.

    Not of images that reviewers approved. unplannable: keeps what belongs to subjects that cannot be planned now.
    """
    unplannable = unplannable or Unplannable(made_plan)
    approved = pa.array(Reviews(ledger.pruned.output_uri).in_state("approved"), pa.string())
    with Join(made_plan.files, ledger.scan()) as join:
        for window in join.windows(["item_id"]):
            images = window.orphans.filter(pc.equal(window.orphans["status"], "done"))
            images = images.filter(pc.invert(pc.is_in(images["item_id"], value_set=approved)))
            images = images.filter(pa.array(~unplannable.keep(images)))
            if images.num_rows:
                yield images


def prune_orphans(made_plan: Plan, ledger: Ledger, unplannable: Unplannable | None = None) -> int:
    """Deletes orphans' images; returns how many. Their records are void before the first image goes."""
    pruned = 0
    for images in orphans(made_plan, ledger, unplannable):
        _delete(ledger, ledger.pruned.announce(images))
        pruned += images.num_rows
    return pruned


def finish_prunes(ledger: Ledger) -> int:
    """Finishes prunes that were cut short, whatever is planned now; returns the number of their images."""
    return sum(_delete(ledger, uri) for uri in ledger.pruned.unfinished())


def _delete(ledger: Ledger, uri: str) -> int:
    keys = ledger.pruned.read(uri)["key"].to_pylist()
    output = open_store(ledger.pruned.output_uri)
    for start in range(0, len(keys), DELETES):
        if ledger.pruned.is_finished(uri):  # by another pruner: from now on the items may be generated again
            return len(keys)
        run_all(output.delete, keys[start : start + DELETES], name="prune")
    ledger.pruned.finish(uri)
    return len(keys)
