"""A catalog's photos become references, by content: read ahead by a few threads, in catalog order, in bounded memory.

    entries --(Roots, PhotoContents)--> (entry, ReadPhotos), in the same order

A photo that cannot be read is a value with its code. Knows photos' bytes and where they may lie; not what they show.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock

from dreamcache.core.errors import ImageError
from dreamcache.core.records import Photo, Reference, Subject
from dreamcache.storage.photo_contents import PhotoContents
from dreamcache.storage.photo_faults import TEMPORARY, PhotoFaults
from dreamcache.storage.roots import Roots, root_for
from jobs.formatting import format_count
from jobs.planning.catalog import BadRow

READERS = 16
SUBJECTS_PER_READ = 8
MOST_SHOWN = 200
OUTSIDE = ("outside_roots", "host_not_allowed")

Entry = Subject | BadRow


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPhotos:
    """An entry's photos, in the order of the catalog; of a bad row none.

    problem: the first that cannot be read. outside: the root that would have to be named for it; None for one that may
    be read.
    """

    references: tuple[Reference, ...] = ()
    outside: str | None = None

    @property
    def problem(self) -> Reference | None:
        return next((one for one in self.references if one.code is not None), None)


class PhotoReader:
    """Reads the photos of one plan. Raises StorageError once so many fail in a row that the storage is at fault."""

    def __init__(self, contents: PhotoContents, roots: Roots) -> None:
        self._contents, self._roots = contents, roots
        self._faults = PhotoFaults()
        self._lock = Lock()
        self._num_standing = 0
        self._first_standing = ""

    @property
    def note(self) -> str | None:
        """Photos that cannot be read for now and were read by an earlier plan; None where there are none."""
        if not self._num_standing:
            return None
        return (
            f"{format_count(self._num_standing, 'photo')} cannot be read for now, and what was last read of them "
            "stands: finished items stay finished, the others of these products wait for the next run; first: "
            f"{self._first_standing}"
        )

    def read_ahead(self, entries: Iterator[Entry]) -> Iterator[tuple[Entry, ReadPhotos]]:
        """Every entry with its photo, in order; a bounded number of photos is in memory."""
        waiting: deque[tuple[list[Entry], Future[list[ReadPhotos]]]] = deque()
        pool = ThreadPoolExecutor(READERS)
        number = 1
        try:
            while some := [
                _storable(one, number + n) for n, one in enumerate(islice(entries, SUBJECTS_PER_READ))
            ]:
                waiting.append((some, pool.submit(self._photos, some, number)))
                number += len(some)
                if len(waiting) >= 2 * READERS:
                    first, future = waiting.popleft()
                    yield from zip(first, future.result(), strict=True)
            for first, future in waiting:
                yield from zip(first, future.result(), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _photos(self, entries: list[Entry], number: int) -> list[ReadPhotos]:
        return [
            self._of_subject(entry, number + n) if isinstance(entry, Subject) else ReadPhotos()
            for n, entry in enumerate(entries)
        ]

    def _of_subject(self, subject: Subject, number: int) -> ReadPhotos:
        references, outside = [], None
        for photo in subject.photos:
            reference, root = self._photo(photo, f"subject '{subject.subject_id}'", number)
            references.append(reference)
            outside = outside or root
        return ReadPhotos(references=tuple(references), outside=outside)

    def _photo(self, photo: Photo, where: str, number: int) -> tuple[Reference, str | None]:
        """(the photo's reference, the root outside of which it lies). number: the product's in the catalog."""
        self._faults.check()
        started, outside = time.monotonic(), None
        contents: dict[str, str | None] = {"image": None, "mask": None}
        try:
            for kind, uri in (("image", photo.image), ("mask", photo.mask)):
                if uri:
                    label = f"{where}: {kind} '{_short(uri)}'"
                    try:
                        self._roots.check(uri, label)
                    except ImageError as error:
                        outside = root_for(uri) if error.code in OUTSIDE else None
                        raise
                    contents[kind] = self._contents.sha256(uri, label)
        except ImageError as error:
            self._faults.observe(error, started=started, number=number)
            reference_id = self._last_known(photo, contents, error)
            if reference_id is None:
                reference_id = Reference.id_of_unreadable(photo.image, error.code)
            return Reference(reference_id=reference_id, code=error.code, message=str(error)), outside
        self._faults.observe(None, started=started)
        image = contents["image"]
        assert image is not None  # a subject always names a photo
        return Reference(reference_id=Reference.id_of_contents(image, contents["mask"])), None

    def _last_known(self, photo: Photo, contents: dict[str, str | None], error: ImageError) -> str | None:
        """The id of the photo as an earlier plan has read it, where the error says nothing of the photo itself.

        contents: of what could be read now.
        """
        if error.code not in TEMPORARY:
            return None
        image = contents["image"] or self._contents.last_known(photo.image)
        mask = self._contents.last_known(photo.mask) if photo.mask else None
        if image is None or (photo.mask and mask is None):
            return None
        with self._lock:
            self._num_standing += 1
            self._first_standing = self._first_standing or f"[{error.code}] {error}"
        return Reference.id_of_contents(image, mask)


def _storable(entry: Entry, number: int) -> Entry:
    """The entry, or a bad row where a text of it cannot be stored: names of files may hold bytes that are no UTF-8."""
    if isinstance(entry, BadRow):
        return replace(entry, subject_id=_escaped(entry.subject_id), message=_escaped(entry.message))
    texts = {"subject_id": entry.subject_id, "class_name": entry.class_name, "image": entry.image}
    texts |= {f"photo {n}": f"{one.image}{one.mask or ''}" for n, one in enumerate(entry.further, start=2)}
    texts |= {"mask": entry.mask or "", "prompts": "".join(entry.prompts), **entry.attributes}
    texts["name of a column"] = "".join(entry.attributes)
    wrong = next((name for name, text in texts.items() if not _is_text(text)), None)
    if wrong is None:
        return entry
    return BadRow(
        row=number,
        subject_id=_escaped(entry.subject_id)[:80],
        code="bad_row",
        message=f"product {number} of the catalog: {_escaped(wrong)} must be text in UTF-8, got "
        f"'{_escaped(texts[wrong])[:200]}'; rename the file, or save the catalog as UTF-8",
    )


def _short(uri: str) -> str:
    """As a message shows it: a cell may hold a million characters."""
    return uri if len(uri) <= MOST_SHOWN else f"{uri[: MOST_SHOWN - 60]}...{uri[-57:]}"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
