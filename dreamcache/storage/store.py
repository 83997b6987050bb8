"""What a store of objects is, and how locations are named: `s3://bucket/key`, `file:///folder`, or a local path.

Objects are written whole and appear whole; there is no rename and no append. Knows nothing of what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

S3_SCHEME = "s3://"
FILE_SCHEME = "file://"
CONTENT_TYPES = {  # a browser shows a gallery straight from the bucket only with their content types
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "yaml": "application/yaml",
    "csv": "text/csv; charset=utf-8",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """One stored object. `etag` changes with every write; `modified` is UTC; size in bytes."""

    uri: str
    num_bytes: int
    etag: str
    modified: datetime


class Store(Protocol):
    """Whole objects by URI. Stores are stateless: thread-safe, and picklable to other processes.

    Every method raises `StorageError` with a code: `no_credentials`, `no_such_bucket`, `access_denied`,
    `expired_credentials`, `read_only`, `no_space`, `storage_unreachable`, or plain `storage`.
    """

    def read(self, uri: str, limit: int | None = None) -> bytes:
        """The object's bytes; FileNotFoundError when there is none.

        limit: of bytes; `bounded.TooLarge` for an object of more, of which little more than the limit is read.
        """

    def write(self, uri: str, data: bytes) -> None:
        """Store, or overwrite, in one step: a reader sees the old object or the new one."""

    def upload(self, uri: str, path: Path) -> None:
        """`write` of a file of this machine, of any size, without holding it in memory."""

    def create(self, uri: str, data: bytes) -> bool:
        """Store if there is none. True: the committed object is this call's. False: there was one already."""

    def replace(self, uri: str, data: bytes, etag: str | None) -> bool:
        """Compare and swap: store if the object still has `etag` (None: if there is none), else False.

        After a lost answer whose object was overwritten by another writer since, the result is False.
        """

    def stat(self, uri: str) -> ObjectInfo | None:
        """Size, etag and time of the object; None when there is none."""

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        """All objects below a folder, recursively, in no promised order. An absent folder is empty.

        Objects come and go meanwhile. What is there all the time is seen; and where an object was put before
        another one beside it was deleted, and its name comes after that one's, at least one of them is seen.
        Each `uri` is `prefix_uri` as given, joined with the object's name (see `relative_to`).
        """

    def delete(self, uri: str) -> None:
        """Remove the object; no error when there is none."""


def content_type(key: str) -> str:
    """The MIME type of an object, by the end of its name."""
    return CONTENT_TYPES.get(key.rsplit(".", 1)[-1].lower(), "application/octet-stream")


def join(uri: str, *parts: str) -> str:
    """`uri` extended by path parts, with one slash between."""
    for part in parts:
        if part.strip("/"):
            uri = f"{uri.rstrip('/')}/{part.strip('/')}" if uri else part
    return uri


def relative_to(uri: str, prefix_uri: str) -> str:
    """The name of a listed object below the prefix it was listed with. ValueError when it is not below it."""
    prefix = join(prefix_uri, "x")[:-1]
    if not uri.startswith(prefix):
        raise ValueError(f"{uri} is not below {prefix_uri}")
    return uri[len(prefix) :]
