"""Catalogs as people have them: CSV, JSONL or Parquet, folders of their parts, or a folder of photos, as subjects.

    file --source--> bytes --csv_rows | jsonl_rows | parquet_rows--> cells by column --subjects--> Subject | BadRow
    folder of photos --folder-----------------------------------------------------------------> Subject | BadRow

A bad row is a value, not an end: it costs itself. Knows files and columns; knows nothing of prompts' placeholders,
models or plans. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dreamcache.core.config.fields import MAX_PHOTOS
from dreamcache.core.errors import CatalogError
from dreamcache.core.records import Subject
from jobs.planning.catalog.folder import IMAGE_SUFFIXES, LeftOut, photos_of_folder
from jobs.planning.catalog.parts import parts_of
from jobs.planning.catalog.rows import BadRow
from jobs.planning.catalog.subjects import subjects_of_parts

__all__ = ["IMAGE_SUFFIXES", "BadRow", "LeftOut", "read_catalog"]


def read_catalog(
    uri: str,
    *,
    columns: Mapping[str, str] | None = None,
    class_name: str = "product",
    left_out: LeftOut | None = None,
    max_photos: int = MAX_PHOTOS,
) -> Iterator[Subject | BadRow]:
    """Subjects and bad rows, in catalog order. Image paths are made absolute against the catalog's folder.

    left_out: counts photos of a folder that no subject uses. max_photos: of a subject. Raises CatalogError when the
    catalog as a whole cannot be read, StorageError when its location cannot.
    """
    parts = parts_of(uri)
    if parts is None:
        yield from photos_of_folder(uri, class_name, LeftOut() if left_out is None else left_out)
    elif not parts:
        raise CatalogError(f"catalog '{uri}': must be an existing file or folder, got none; check the path")
    else:
        yield from subjects_of_parts(parts, uri, columns or {}, class_name, max_photos)
