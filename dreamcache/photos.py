"""Fetching a catalog's photos and masks as bytes. Knows storage; knows nothing of what is in them (see `images`)."""

from __future__ import annotations

from dreamcache.errors import ImageError
from dreamcache.storage.filesystem import store_for

SCHEMES = ("s3://", "file://")


def read_photo(uri: str, where: str) -> bytes:
    """The bytes at a path or s3:// URI.

    Raises ImageError `missing_image` or `bad_image_uri`, or StorageError. Web addresses are refused: a catalog
    could make workers ask anything of the network they stand in.
    """
    if "://" in uri and not uri.startswith(SCHEMES):
        raise ImageError(
            f"{where}: must be a path or an s3:// URI; copy the file there", code="bad_image_uri"
        )
    try:
        return store_for(uri).read(uri)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ImageError(
            f"{where}: must be an existing file, got none; check the path", code="missing_image"
        ) from error
