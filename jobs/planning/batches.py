"""Which rows of a plan share a batch: those of one image size and number of photos.

    rows --groups_of--> rows that may share a batch --batches_of--> batches, near to the plan's order

Knows plan tables and overrides; knows nothing of workers or models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from dreamcache.core.config.scenes import overrides_of


def groups_of(
    overrides: Sequence[str | None], photo_sets: Sequence[str | None], per_image: frozenset[str]
) -> list[list[int]]:
    """Row numbers of rows that may share a batch, in order of their first. overrides, photo_sets: the rows' columns;
    per_image: see `Family`."""
    keys = {text: overrides_of(text).batch_key(per_image) for text in set(overrides)}
    groups: dict[object, list[int]] = {}
    for row, (text, photos) in enumerate(zip(overrides, photo_sets, strict=True)):
        groups.setdefault((keys[text], num_photos(photos)), []).append(row)
    return list(groups.values())


def batches_of(rows: pa.Table, size: int, per_image: frozenset[str]) -> list[pa.Table]:
    """Rows that may share a batch, at most `size` in each, as near to the plan's order as that allows.

    A generator fills a smaller batch up, so that one of mixed image sizes or numbers of photos would be generated
    several times.
    """
    texts, sets = rows["overrides"].to_pylist(), rows["photo_set"].to_pylist()
    if not any(texts) and not any(sets):
        return [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
    groups = groups_of(texts, sets, per_image)
    batches = [group[start : start + size] for group in groups for start in range(0, len(group), size)]
    # The last row of each decides, as if batches were sent off when they are full.
    return [rows.take(pa.array(batch)) for batch in sorted(batches, key=lambda batch: batch[-1])]


def num_photos(photo_set: str | None) -> int:
    """Photos of a row, by its column `photo_set`."""
    return len(json.loads(photo_set)) if photo_set else 1
