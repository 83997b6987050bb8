"""From a manifest to the gallery in the output folder: fetches reference photos for their thumbnails.

Joins the gallery (which knows no storage) with storage; knows nothing of how images are generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids
from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.locations import is_uri
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.open_store import read_bounded
from dreamcache.storage.photos import read_photo
from dreamcache.storage.roots import Roots, is_below
from jobs.gallery import Scaler, make_thumbnail, thumbnail_keys, write_gallery
from jobs.output.attributes import without_typed
from jobs.output.cost import of_summary
from jobs.output.folder import OutputFolder

READERS = 8
"""Photos read at once; their bytes are held until they are scaled."""
HAS_NO_PHOTO = "failed"
SIDE = 512
"""Pixels of a thumbnail's longer side: reviewers see it as large as the image."""


def publish_gallery(
    summary: Mapping[str, Any] | None,
    first_rows: pa.Table,
    folder: OutputFolder,
    *,
    limits: ImageLimits | None = None,
    roots: Roots | None = None,
    write: Callable[[str, bytes], None] | None = None,
    served_to: str | None = None,
) -> str:
    """Writes `gallery/`; returns the page's path or URI. Photos that cannot be read have no thumbnail.

    summary: manifest.json, which counts the whole manifest; without it the rows are taken for all.
    first_rows: of the manifest, those to be shown. limits: of photos, the job's own. roots: where photos may be read,
    by the job file; None where there is only the output, whose earlier gallery then has the other photos. write: where
    the files go, the output itself by default; served_to: as for `write_gallery`.
    """
    first = first_rows.group_by("subject_id", use_threads=False).aggregate([("image", "first")])
    # Never the manifest's column alone: it may name any file.
    roots = folder.own_roots() if roots is None else roots
    usable = _readable(first_rows)
    order = (row["subject_id"] for row in first.to_pylist())
    photos = {one: usable[one] if roots.allows(usable[one]) else None for one in order if one in usable}
    # A local path is meaningful on one machine only, and the page may be copied elsewhere.
    source = folder.uri if is_uri(folder.uri) else ""
    if cost := of_summary(dict(summary or {})):
        source = f"{source or 'the output folder'} ({cost.line()})"
    title = str(summary["job"]) if summary else "job"
    with _Thumbnails(photos, folder, limits or ImageLimits(), roots.hosts) as references:
        key = write_gallery(
            manifest=without_typed(first_rows),
            references=references,
            write=write or folder.write_file,
            title=title,
            source=source,
            totals={"subjects": len(first), **summary["counts"], **_subjects(summary)} if summary else None,
            job_key=ids.of_values("review", job=title, output=folder.uri)[:12],
            served_to=served_to,
        )
    return folder.at(key)


def _subjects(summary: Mapping[str, Any]) -> dict[str, int]:
    return {"subjects": summary["subjects"]} if "subjects" in summary else {}  # not in those of release 0.1


def _readable(rows: pa.Table) -> dict[str, str]:
    """Photos by subject, of subjects of which not all items failed: a photo that a worker refused, or that ended it,
    is not opened here again."""
    usable = rows.filter(pc.not_equal(rows["status"], HAS_NO_PHOTO))
    first = usable.group_by("subject_id", use_threads=False).aggregate([("image", "first")])
    return {row["subject_id"]: row["image_first"] for row in first.to_pylist() if row["image_first"]}


class _Thumbnails:
    """Thumbnails by subject, scaled some ahead of who asks for them in the order of `photos`; none is held longer.

    photos: by subject, None for one that may not be read: its thumbnail is that of the folder's earlier gallery.
    """

    def __init__(
        self,
        photos: Mapping[str, str | None],
        folder: OutputFolder,
        limits: ImageLimits,
        hosts: Sequence[CatalogHost],
    ) -> None:
        self._scaler = Scaler()
        self._folder, self._limits, self._hosts = folder, limits, hosts
        self._waiting = iter(photos)
        self._next = next(self._waiting, None)
        self._scaled = map_ordered(self._scale, photos.items(), threads=READERS)

    def __enter__(self) -> Self:
        self._scaler.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._scaler.__exit__(None, None, None)

    def get(self, subject: str) -> bytes | None:
        if subject != self._next:
            return None
        self._next = next(self._waiting, None)
        return next(self._scaled)

    def _scale(self, photo: tuple[str, str | None]) -> bytes | None:
        subject, uri = photo
        try:
            data = (
                self._earlier(subject)
                if uri is None
                else read_photo(uri, "gallery", self._limits, self._hosts)
            )
        except (OSError, DreamCacheError):
            return None
        return None if data is None else make_thumbnail(data, SIDE, limits=self._limits, run=self._scaler.run)

    def _earlier(self, subject: str) -> bytes | None:
        for key in thumbnail_keys(subject):
            uri = self._folder.at(key)
            with suppress(FileNotFoundError):
                if is_below(uri, self._folder.uri):  # a link may lead to a file of the reader's
                    return read_bounded(uri, self._limits.max_bytes)
        return None
