"""The state of a photo without reading it: one `stat` on a disk; on S3 and GCS an entry of a listing, or a request.

    state_of("photos/a.png")        -> PhotoState(uri, num_bytes, stamp), None for what must be read to be judged
    Listings(row_of).row("s3://shop/photos/a.png") -> the row of the index that the folder's listing names

A listing's page of 1,000 keys is paid for by 20 photos of its folder: the first 20 photos cost a HEAD each, every 20
further ones open one more page. So a catalog that names fewer than one in 50 of a folder's objects lists nothing in
vain, and one that names all of them lists the folder once.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import is_local
from dreamcache.core.web_url import is_web
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import store_for
from dreamcache.storage.photo_index import PhotoState
from dreamcache.storage.store import ObjectInfo

PAGE_KEYS = 1000
PHOTOS_PER_PAGE = 20
MOST_FOLDERS = 100_000
SETTLED_NS = 2_000_000_000
"""A file written less than this ago may be written again within one tick of its file system's clock."""


def state_of(uri: str) -> PhotoState | None:
    """None where nothing is there, where it is no regular file, or the storage does not say: reading it will."""
    if is_web(uri):
        return (
            None  # its state would be its ETag, which `storage.web.client.WebPhotos.fetch` returns and takes
        )
    try:
        if is_local(uri):
            return _of_file(uri)
        info = store_for(uri).stat(uri)
    except (StorageError, OSError, ValueError):
        return None
    return None if info is None else _of_info(info)


def is_settled(state: PhotoState) -> bool:
    """Whether the state would change if the photo were written now."""
    if not is_local(state.uri):
        return True
    modified, changed, _ = state.stamp.split(":", 2)
    return time.time_ns() - max(int(modified), int(changed)) > SETTLED_NS


class Listings:
    """Of the folders on S3 or GCS that a plan's photos lie in, as far as they pay. Thread-safe.

    row_of: the index's row of a state, None for none. Only rows are kept of a listing, a number for each object that
    the index knows. num_pages: requests so far.
    """

    def __init__(self, row_of: Callable[[PhotoState], int | None]) -> None:
        self._row_of = row_of
        self._seen: dict[str, int] = {}
        self._listings: dict[str, _Listing] = {}
        self._lock = Lock()
        self.num_pages = 0

    def row(self, uri: str) -> int | None:
        """The row of the photo at this s3:// URI, None where no page so far names it unchanged."""
        folder = uri.rpartition("/")[0]
        with self._lock:
            seen = self._seen[folder] = self._seen.pop(folder, 0) + 1
            if seen <= PHOTOS_PER_PAGE:
                # Few photos of many folders: no more is kept of a folder than a number, and of old ones nothing.
                if len(self._seen) > MOST_FOLDERS:
                    del self._seen[next(iter(self._seen))]
                return None
            listing = self._listings.get(folder)
            if listing is None:
                listing = self._listings[folder] = _Listing(entries=store_for(folder).list(folder))
                listing.num_photos = PHOTOS_PER_PAGE
        with listing.lock:
            listing.num_photos += 1
            while not listing.ended and (listing.num_pages + 1) * PHOTOS_PER_PAGE < listing.num_photos:
                self._list_page(listing)
            return listing.rows.pop(uri, None)

    def _list_page(self, listing: _Listing) -> None:
        listing.num_pages += 1
        self.num_pages += 1
        try:
            for _ in range(PAGE_KEYS):
                info = next(listing.entries)
                row = self._row_of(_of_info(info))
                if row is not None:
                    listing.rows[info.uri] = row
        except (StopIteration, StorageError):  # the end, or a role that may read objects and not list them
            listing.ended = True


@dataclass(kw_only=True, slots=True)
class _Listing:
    """Of one folder. rows: by URI, dropped once asked for."""

    entries: Iterator[ObjectInfo]
    num_photos: int = 0
    num_pages: int = 0
    ended: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


def _of_file(uri: str) -> PhotoState | None:
    status = os.stat(local_path(uri))
    if not stat.S_ISREG(status.st_mode):
        return None
    stamp = f"{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_dev}:{status.st_ino}"
    return PhotoState(uri=uri, num_bytes=status.st_size, stamp=stamp)


def _of_info(info: ObjectInfo) -> PhotoState:
    # HEAD states whole seconds, a listing may state parts of them.
    stamp = f"{info.etag}:{int(info.modified.timestamp())}"
    return PhotoState(uri=info.uri, num_bytes=info.num_bytes, stamp=stamp)
