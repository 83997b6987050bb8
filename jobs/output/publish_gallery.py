"""From a manifest to the gallery in the output folder: fetches reference photos for their thumbnails.

Joins the gallery (which knows no storage) with storage; knows nothing of how images are generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import is_uri
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.open_store import store_for
from jobs.gallery import make_thumbnail, write_gallery
from jobs.output.folder import OutputFolder


def publish_gallery(summary: Mapping[str, Any] | None, first_rows: pa.Table, folder: OutputFolder) -> str:
    """Writes `gallery/`; returns the page's path or URI. Photos that cannot be read have no thumbnail.

    summary: manifest.json, which counts the whole manifest; without it the rows are taken for all.
    first_rows: of the manifest, those to be shown.
    """
    first = first_rows.group_by("subject_id", use_threads=False).aggregate([("image", "first")])
    roots = folder.photo_roots()  # of job.yaml: a manifest's column may name any file
    photos = {
        row["subject_id"]: row["image_first"]
        for row in first.to_pylist()
        if row["image_first"] and roots.allows(row["image_first"])
    }
    thumbnails = zip(photos, map_ordered(_thumbnail, photos.values()), strict=True)
    references = {subject: data for subject, data in thumbnails if data is not None}
    # A local path is meaningful on one machine only, and the page may be copied elsewhere.
    source = folder.uri if is_uri(folder.uri) else ""
    key = write_gallery(
        manifest=first_rows,
        references=references,
        write=folder.write_file,
        title=str(summary["job"]) if summary else "job",
        source=source,
        totals={"subjects": len(first), **summary["counts"], **_subjects(summary)} if summary else None,
    )
    return folder.at(key)


def _subjects(summary: Mapping[str, Any]) -> dict[str, int]:
    return {"subjects": summary["subjects"]} if "subjects" in summary else {}  # not in those of release 0.1


def _thumbnail(uri: str) -> bytes | None:
    try:
        return make_thumbnail(store_for(uri).read(uri))
    except (OSError, StorageError):
        return None
