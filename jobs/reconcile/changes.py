"""What a plan would change in an existing output: new, unchanged and changed items, and orphans by their reason.

    plan x ledger -> planned items without a record --+
    last manifest -> its items that are not planned --+--by subject, prompt and sample--> changed, replaced

Compares the plan, the ledger (what is recorded) and the manifest of the last run that ended (what readers see).
Knows their columns; holds 8 bytes for each item that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.output.manifest import Counts, count_window
from jobs.reconcile.join import Join

OLD_COLUMNS = ("item_id", "subject_id", "prompt", "sample", "status")
PLANNED_COLUMNS = ("item_id", "subject_id", "prompt", "sample", "code")

Keys = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Numbers of items.

    unchanged: planned and recorded, whatever the end; new and changed: to generate, where `changed` replaces an item
    of the same subject, prompt and sample (its slot). orphaned: recorded and not planned any more; `replaced` by a
    changed one, `dropped` with their prompt or sample, `removed` with their subject; the rest is of earlier runs.
    """

    counts: Counts
    new: int
    unchanged: int
    changed: int
    replaced: int
    dropped: int
    removed: int

    @property
    def orphaned(self) -> int:
        return self.counts.orphaned


def find_changes(join: Join, manifest: Iterable[pa.Table]) -> Changes:
    """manifest: of the last run, with OLD_COLUMNS; nothing when there is none."""
    counts = Counts()
    slots: list[Keys] = []
    subjects: list[Keys] = []
    for window in join.windows(PLANNED_COLUMNS):
        counts += count_window(window)
        slots.append(_slots(window.planned.filter(pc.is_null(window.records["status"]))))
        subjects.append(hashes(pc.unique(window.planned["subject_id"]).to_pylist()))
    to_generate = _joined(slots)
    gone, gone_subjects = _gone(join, manifest)
    replaced = np.isin(gone, to_generate)
    removed = ~replaced & ~np.isin(gone_subjects, _joined(subjects))
    changed = int(np.isin(to_generate, gone).sum())
    return Changes(
        counts=counts,
        new=counts.pending - changed,
        unchanged=counts.total - counts.pending,
        changed=changed,
        replaced=int(replaced.sum()),
        dropped=int((~replaced & ~removed).sum()),
        removed=int(removed.sum()),
    )


def _gone(join: Join, manifest: Iterable[pa.Table]) -> tuple[Keys, Keys]:
    """(slot, subject) of the manifest's recorded items that are not planned any more."""
    slots, subjects = [], []
    for table in manifest:
        recorded = table.filter(pc.not_equal(table["status"], "pending"))
        old = recorded.filter(pa.array(~join.index.has(recorded["item_id"])))
        slots.append(_slots(old))
        subjects.append(hashes(old["subject_id"].to_pylist()))
    return _joined(slots), _joined(subjects)


def _slots(table: pa.Table) -> Keys:
    columns = (table[name].to_pylist() for name in ("subject_id", "prompt", "sample"))
    return hashes(f"{subject}\0{prompt}\0{sample}" for subject, prompt, sample in zip(*columns, strict=True))


def hashes(texts: Iterable[str]) -> Keys:
    """64 bits for each text: enough to count with."""
    return np.frombuffer(
        b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts), dtype=np.uint64
    )


def _joined(arrays: list[Keys]) -> Keys:
    return np.concatenate([np.empty(0, np.uint64), *arrays])
