"""One way in: `open_store(uri)` gives the objects below one root, `store_for(uri)` the store of any URI, and
`read_bounded(uri, limit)` the bytes at any.

Knows which scheme has which store; knows nothing of what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import AZ_SCHEME, GS_SCHEME
from dreamcache.storage.below import below
from dreamcache.storage.store import FILE_SCHEME, S3_SCHEME, ObjectInfo, Store, join, relative_to

__all__ = ["BoundStore", "join", "open_store", "read_bounded", "store_for"]


@dataclass(frozen=True, slots=True)
class BoundStore:
    """The objects below `root`, a local folder or a prefix at s3:// or gs://, by key relative to it.

    Methods and errors are those of `Store`, and StorageError `unsafe_name` for a key that leads out of the root (see
    `below`). Holds no state: thread-safe, and picklable to other processes.
    """

    root: str
    backend: Store

    def at(self, *parts: str) -> str:
        """The URI of the object or folder of that key, for messages and for other libraries."""
        return below(self.root, *parts)

    def key_of(self, uri: str) -> str:
        """The key of a URI that `list` returned. ValueError for one that is not below the root."""
        return relative_to(uri, self.root)

    def read(self, key: str, limit: int | None = None) -> bytes:
        return self.backend.read(self.at(key), limit)

    def write(self, key: str, data: bytes) -> None:
        self.backend.write(self.at(key), data)

    def upload(self, key: str, path: Path) -> None:
        self.backend.upload(self.at(key), path)

    def create(self, key: str, data: bytes) -> bool:
        return self.backend.create(self.at(key), data)

    def replace(self, key: str, data: bytes, etag: str | None) -> bool:
        return self.backend.replace(self.at(key), data, etag)

    def stat(self, key: str) -> ObjectInfo | None:
        return self.backend.stat(self.at(key))

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """All objects below a folder of the root; `key_of` gives their keys."""
        return self.backend.list(self.at(folder) if folder else self.root)

    def delete(self, key: str) -> None:
        self.backend.delete(self.at(key))


def open_store(uri: str) -> BoundStore:
    """The objects below `uri`, a folder of ours. StorageError `bad_uri` for a scheme that is not supported."""
    if uri.startswith(AZ_SCHEME):
        from dreamcache.storage.cloud import refusal

        raise refusal(uri)
    return BoundStore(uri, store_for(uri))


def store_for(uri: str) -> Store:
    """The store that holds `uri`, for a single object. StorageError `bad_uri` for a scheme that is not supported."""
    if uri.startswith(S3_SCHEME):
        from dreamcache.storage.s3 import S3Store  # boto3 is loaded only by who uses it

        return S3Store()
    if uri.startswith(GS_SCHEME):
        from dreamcache.storage.gs import GsStore

        return GsStore()
    if uri.startswith(AZ_SCHEME):
        from dreamcache.storage.cloud import CloudStore

        return CloudStore(AZ_SCHEME)
    if "://" in uri and not uri.startswith(FILE_SCHEME):
        raise StorageError(
            f"{uri}: a location must be a local path or start with s3://, gs://, az:// or file://, "
            f"got {uri.split('://')[0]}://; use one of these",
            code="bad_uri",
        )
    from dreamcache.storage.local import LocalStore

    return LocalStore()


def read_bounded(uri: str, limit: int) -> bytes:
    """The bytes at a local path or URI, at most `limit` of them: for what others wrote.

    Raises FileNotFoundError, IsADirectoryError, `bounded.TooLarge`, NotRegular, or StorageError with its codes.
    """
    return store_for(uri).read(uri, limit)
