"""Rows of a mixed batch, in parts whose tensors can be stacked. Knows positions only."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import cycle, islice


def equal_parts(keys: Sequence[Hashable]) -> Iterator[tuple[list[int], list[int]]]:
    """(rows of one key, the same rows repeated up to the whole batch's number) for each key, in order of first rows.

    A part is filled up because a kernel's last bits depend on the batch's shape: a row's pixels must not depend on its
    neighbours.
    """
    parts: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        parts.setdefault(key, []).append(row)
    for rows in parts.values():
        yield rows, list(islice(cycle(rows), len(keys)))
