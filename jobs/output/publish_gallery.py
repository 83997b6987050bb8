"""From a manifest to the gallery in the output folder: fetches reference photos for their thumbnails.

Joins the gallery (which knows no storage) with storage; knows nothing of how images are generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.locations import is_uri
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.photos import read_photo
from jobs.gallery import Scaler, make_thumbnail, write_gallery
from jobs.output.attributes import without_typed
from jobs.output.cost import of_summary
from jobs.output.folder import OutputFolder

READERS = 8
"""Photos read at once; their bytes are held until they are scaled."""
HAS_NO_PHOTO = "failed"


def publish_gallery(
    summary: Mapping[str, Any] | None,
    first_rows: pa.Table,
    folder: OutputFolder,
    *,
    limits: ImageLimits | None = None,
) -> str:
    """Writes `gallery/`; returns the page's path or URI. Photos that cannot be read have no thumbnail.

    summary: manifest.json, which counts the whole manifest; without it the rows are taken for all.
    first_rows: of the manifest, those to be shown. limits: of photos, the job's own.
    """
    first = first_rows.group_by("subject_id", use_threads=False).aggregate([("image", "first")])
    roots = folder.photo_roots()  # of job.yaml: a manifest's column may name any file
    photos = {subject: uri for subject, uri in _readable(first_rows).items() if roots.allows(uri)}
    references = _thumbnails(photos, limits or ImageLimits(), roots.hosts)
    # A local path is meaningful on one machine only, and the page may be copied elsewhere.
    source = folder.uri if is_uri(folder.uri) else ""
    if cost := of_summary(summary or {}):
        source = f"{source or 'the output folder'} ({cost.line()})"
    key = write_gallery(
        manifest=without_typed(first_rows),
        references=references,
        write=folder.write_file,
        title=str(summary["job"]) if summary else "job",
        source=source,
        totals={"subjects": len(first), **summary["counts"], **_subjects(summary)} if summary else None,
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


def _thumbnails(
    photos: Mapping[str, str], limits: ImageLimits, hosts: Sequence[CatalogHost]
) -> dict[str, bytes]:
    with Scaler() as scaler:

        def thumbnail(uri: str) -> bytes | None:
            try:
                data = read_photo(uri, "gallery", limits, hosts)
            except (OSError, DreamCacheError):
                return None
            return make_thumbnail(data, limits=limits, run=scaler.run)

        scaled = map_ordered(thumbnail, photos.values(), threads=READERS)
        return {subject: data for subject, data in zip(photos, scaled, strict=True) if data is not None}
