"""Fetching a catalog's photos and masks as bytes. Knows storage; knows nothing of what is in them (see `images`)."""

from __future__ import annotations

import os
import stat

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError, StorageError
from dreamcache.core.records import Reference, Request
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import store_for
from dreamcache.storage.photo_uri import uri_problem


def read_photo(uri: str, where: str, limits: ImageLimits) -> bytes:
    """The bytes at a path or s3:// URI.

    Raises ImageError, with the storage's code where it was the storage that refused: what is about one photo costs its
    own row, and `photo_faults` decides when the storage as a whole fails. Web addresses are refused: a catalog could
    have workers send any request into their network.
    """
    if problem := uri_problem(uri):
        raise ImageError(f"{where}: {problem}", code="bad_image_uri")
    try:
        if not uri.startswith("s3://"):
            _check_local(uri, where, limits)
        return store_for(uri).read(uri)
    except StorageError as error:
        raise ImageError(f"{where}: {error}", code=error.code) from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        message = f"{where}: must be an existing file, got none; check the path"
        raise ImageError(message, code="missing_image") from error


def read_reference(request: Request, limits: ImageLimits) -> tuple[bytes, bytes | None]:
    """The photo of a planned item, and its mask if it has one.

    Raises as `read_photo`, and ImageError `changed_photo` when they are not those that were planned: their image
    would stand under the other photo's name.
    """
    where = f"subject '{request.subject_id}'"
    image = read_photo(request.image, f"{where}: image '{request.image}'", limits)
    mask = read_photo(request.mask, f"{where}: mask '{request.mask}'", limits) if request.mask else None
    if Reference.id_of(image, mask) != request.reference_id:
        message = (
            f"{where}: image '{request.image}': must be the photo planned, got another; run the job again"
        )
        raise ImageError(message, code="changed_photo")
    return image, mask


def _check_local(uri: str, where: str, limits: ImageLimits) -> None:
    """A device or a pipe has no end, and a huge file would be read whole before its header is looked at."""
    try:
        status = os.stat(local_path(uri))
    except (OSError, ValueError):
        return  # the store says what is wrong with it
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(uri)
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{where}: must be a regular file, got a device or pipe", code="not_an_image")
    if status.st_size > limits.max_bytes:
        raise ImageError(
            f"{where}: at most {limits.max_bytes} bytes (limits.max_bytes), got {status.st_size}; scale it down",
            code="too_large",
        )
