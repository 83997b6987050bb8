"""Rows of one subject, each with a view of its own, become one subject with several photos.

    (row's Subject) --Views.add--> the whole Subject, once its last row has come

Rows of a subject may stand anywhere in a catalog, so they are counted before they are read; only subjects that wait
for further rows are in memory. The first row states the subject; later ones add photos, prompts, and values of columns
that were empty. Knows subjects; knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from dreamcache.core.records import Subject


class Views:
    """Subjects on their way. rows: how many rows name each subject id."""

    def __init__(self, rows: Counter[str]) -> None:
        self._remaining = rows
        self._waiting: dict[str, Subject] = {}

    def is_whole(self, subject_id: str) -> bool:
        """Whether all rows that were counted have come: a further one was written while the catalog was read."""
        return self._remaining[subject_id] <= 0

    def add(self, subject_id: str, subject: Subject | None) -> Subject | None:
        """One row has been read, as a subject of its own or, where it is unusable, None. The subject if it is whole."""
        self._remaining[subject_id] -= 1
        if subject is not None:
            known = self._waiting.get(subject_id)
            self._waiting[subject_id] = subject if known is None else _joined(known, subject)
        return self._waiting.pop(subject_id, None) if self._remaining[subject_id] <= 0 else None

    def rest(self) -> Iterator[Subject]:
        """Subjects whose last row never came: the catalog lost it while it was read."""
        yield from self._waiting.values()
        self._waiting.clear()


def _joined(first: Subject, later: Subject) -> Subject:
    known = set(first.photos)
    photos = tuple(photo for photo in later.photos if photo not in known)
    filled = {name: value for name, value in first.attributes.items() if value}
    return replace(
        first,
        further=(*first.further, *photos),
        prompts=tuple(dict.fromkeys((*first.prompts, *later.prompts))),
        attributes={**first.attributes, **later.attributes, **filled},
        typed={**{name: value for name, value in later.typed.items() if name not in filled}, **first.typed},
        overrides=first.overrides.over(later.overrides),
    )
