"""The content hash of a catalog's photo: from the photo index where the photo is as it was, else by reading it.

    uri --Listings | state_of--> row of the index --> sha256
        --read_photo--> bytes --> sha256, and a new row

Knows the index and photos' bytes; not what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from dreamcache.core import ids
from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.locations import S3_SCHEME
from dreamcache.storage.photo_index import PhotoIndex, PhotoState
from dreamcache.storage.photo_states import Listings, is_settled, state_of
from dreamcache.storage.photo_uri import check_uri
from dreamcache.storage.photos import read_photo


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
        if not self._verify and uri.startswith(S3_SCHEME) and (row := self._listings.row(uri)) is not None:
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
