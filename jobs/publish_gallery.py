"""From a manifest to the gallery in the output folder: fetches reference photos for their thumbnails.

Joins the gallery (which knows no storage) with storage; knows nothing of how images are made.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from dreamcache.errors import StorageError
from dreamcache.storage.filesystem import store_for
from jobs.gallery import make_thumbnail, shown_subjects, write_gallery
from jobs.output_folder import OutputFolder

READERS = 16


def publish_gallery(title: str, manifest: pa.Table, folder: OutputFolder) -> str:
    """Writes `gallery/`; returns the page's path or URI. Photos that cannot be read have no thumbnail."""
    shown = set(shown_subjects(manifest))
    photos: dict[str, str] = {}
    for row in manifest.select(["subject_id", "image"]).to_pylist():
        if row["subject_id"] in shown and row["image"]:
            photos.setdefault(row["subject_id"], row["image"])
    with ThreadPoolExecutor(READERS) as pool:
        made = dict(zip(photos, pool.map(_thumbnail, photos.values()), strict=True))
    references = {subject: data for subject, data in made.items() if data is not None}
    # A local path would tell of one machine only, and the page may be copied elsewhere.
    source = folder.uri if "://" in folder.uri else ""
    key = write_gallery(
        manifest=manifest, references=references, write=folder.write_file, title=title, source=source
    )
    return folder.at(*key.split("/"))


def _thumbnail(uri: str) -> bytes | None:
    try:
        return make_thumbnail(store_for(uri).read(uri))
    except (OSError, StorageError):
        return None
