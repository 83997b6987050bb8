"""The content hash of a catalog's photo: from the photo index where the photo is as it was, else by reading it.

    uri --Listings | state_of--> row of the index --> sha256
        --read_photo--> bytes --> sha256, and a new row
        --read_web, with the last ETag--> 304: as before; else bytes --> sha256, and a new row

Knows the index and photos' bytes; not what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from dreamcache.core import ids
from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.locations import GS_SCHEME, S3_SCHEME
from dreamcache.core.web_url import is_web
from dreamcache.storage.last_contents import LastContent, strong_etag, web_stamp
from dreamcache.storage.photo_index import PhotoIndex, PhotoState
from dreamcache.storage.photo_states import Listings, is_settled, state_of
from dreamcache.storage.photo_uri import check_uri
from dreamcache.storage.photos import read_photo, read_web

LISTED = (S3_SCHEME, GS_SCHEME)
"""Stores whose listings come in pages."""


class PhotoContents:
    """Of one plan. verify: every photo is read, whatever the index says. hosts: of https:// photos. Thread-safe."""

    def __init__(
        self,
        limits: ImageLimits,
        index: PhotoIndex,
        *,
        verify: bool = False,
        hosts: Sequence[CatalogHost] = (),
    ) -> None:
        self._hosts = hosts
        self._limits, self._index, self._verify = limits, index, verify
        self._listings = Listings(self._row)
        self._lock = Lock()
        self.num_known = self.num_read = 0

    def sha256(self, uri: str, where: str) -> str:
        """64 hex digits. Raises ImageError as `read_photo` does. where: names the photo in messages."""
        check_uri(uri, where)
        if is_web(uri):
            return self._of_web(uri, where)
        if not self._verify and uri.startswith(LISTED) and (row := self._listings.row(uri)) is not None:
            return self._known(row)
        state = state_of(uri)
        if not self._verify and state is not None and (row := self._row(state)) is not None:
            return self._known(row)
        content = ids.of_bytes(read_photo(uri, where, self._limits, self._hosts))
        with self._lock:
            self.num_read += 1
        if state is not None and is_settled(state):
            self._index.add(state, content)
        return content

    def last_known(self, uri: str) -> str | None:
        """The content that an earlier plan has read at `uri`, for who cannot read it now; None where none has."""
        last = self._index.last(uri)
        return last.sha256 if last is not None and self._fits(last) else None

    def _of_web(self, uri: str, where: str) -> str:
        last = self._index.last(uri)
        is_asked = last is not None and self._fits(last) and not self._verify
        etag = last.etag if last is not None and is_asked else None
        photo = read_web(uri, where, self._limits, self._hosts, etag=etag)
        if photo.data is None and last is not None:
            with self._lock:
                self.num_known += 1
            return last.sha256
        data = photo.data or b""
        content = ids.of_bytes(data)
        with self._lock:
            self.num_read += 1
        # A row for each change only: an index that grew with each plan would never end.
        if last is None or (last.sha256, last.etag) != (content, strong_etag(photo.etag)):
            self._index.add(PhotoState(uri=uri, num_bytes=len(data), stamp=web_stamp(photo.etag)), content)
        return content

    def _fits(self, last: LastContent) -> bool:
        return last.num_bytes <= self._limits.max_bytes

    def save(self) -> None:
        """Adds what was read to the index."""
        self._index.save()

    def _row(self, state: PhotoState) -> int | None:
        # A limit that was lowered since holds for known photos too.
        return self._index.row(state) if state.num_bytes <= self._limits.max_bytes else None

    def _known(self, row: int) -> str:
        with self._lock:
            self.num_known += 1
        return self._index.sha256(row)
