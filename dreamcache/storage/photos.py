"""Fetching a catalog's photos and masks as bytes. Knows storage; knows nothing of what is in them (see `images`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import ImageError, StorageError
from dreamcache.core.records import Reference, Request
from dreamcache.core.web_url import is_web
from dreamcache.storage.bounded import NotRegular, TooLarge
from dreamcache.storage.open_store import read_bounded
from dreamcache.storage.photo_uri import check_uri

if TYPE_CHECKING:
    from dreamcache.storage.web.client import WebPhoto


def read_photo(uri: str, where: str, limits: ImageLimits, hosts: Sequence[CatalogHost] = ()) -> bytes:
    """The bytes at a path, s3:// URI or https:// address.

    Raises ImageError, with the storage's code where it was the storage that refused: what is about one photo costs its
    own row, and `photo_faults` decides when the storage as a whole fails. Web addresses are read from `hosts` only: a
    catalog could have workers send any request into their network.
    """
    check_uri(uri, where)
    if is_web(uri):
        photo = read_web(uri, where, limits, hosts)
        assert photo.data is not None  # no ETag was sent
        return photo.data
    try:
        return read_bounded(uri, limits.max_bytes)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        message = f"{where}: must be an existing file, got none; check the path"
        raise ImageError(message, code="missing_image") from error
    except (TooLarge, NotRegular) as error:
        hint = " (limits.max_bytes)" if isinstance(error, TooLarge) else ""
        raise ImageError(f"{where}: {error}{hint}", code=error.code) from error
    except StorageError as error:
        raise ImageError(f"{where}: {error}", code=error.code) from error


def read_web(
    uri: str, where: str, limits: ImageLimits, hosts: Sequence[CatalogHost], *, etag: str | None = None
) -> WebPhoto:
    """The photo at an https:// address. etag: of the bytes that the caller knows; the answer then may have no data.

    Raises ImageError.
    """
    from dreamcache.storage.web.client import web_photos  # urllib3 is loaded only by who uses it

    return web_photos(tuple(hosts)).fetch(uri, where, limits.max_bytes, etag=etag)


def read_reference(
    request: Request, limits: ImageLimits, hosts: Sequence[CatalogHost] = ()
) -> tuple[bytes, bytes | None]:
    """The photo of a planned item, and its mask if it has one.

    Raises as `read_photo`, and ImageError `changed_photo` when they are not those that were planned: their image
    would stand under the other photo's name.
    """
    where = f"subject '{request.subject_id}'"
    image = read_photo(request.image, f"{where}: image '{request.image}'", limits, hosts)
    mask = (
        read_photo(request.mask, f"{where}: mask '{request.mask}'", limits, hosts) if request.mask else None
    )
    if Reference.id_of(image, mask) != request.reference_id:
        # A server may keep an ETag for other bytes: each plan would then take the photo for the old one.
        again = (
            "run 'dreamcache plan --verify-photos', then the job again"
            if is_web(request.image)
            else "run the job again"
        )
        message = f"{where}: image '{request.image}': must be the photo planned, got another; {again}"
        raise ImageError(message, code="changed_photo")
    return image, mask
