"""Bytes that others wrote are read up to a limit: photos, masks, catalogs, shards, cache objects.

    read_regular(path, limit, where)   a file of this machine
    read_stream(read, limit, where)    the body of an answer, a member of an archive, what is unpacked

`open_store.read_bounded` reads any location by these. The size is checked before and while reading: what a header, a
file system or a server declares is never believed. Only regular files are read: a device or a pipe has no end, and may
block for ever. Knows bytes, not their content.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from dreamcache.core.errors import DreamCacheError, StorageError

CHUNK_BYTES = 1 << 20
# O_NONBLOCK: opening a pipe without a writer would wait for one. O_NOCTTY: a terminal must not become ours.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class TooLarge(DreamCacheError):  # noqa: N818 - reads as what it states: `except TooLarge`
    """A file or object has more bytes than its reader accepts. Only who named it is affected, not the storage."""

    code = "too_large"


class NotRegular(DreamCacheError):  # noqa: N818
    """A location names a device, pipe, socket or pseudo file, whose bytes have no end or no size."""

    code = "not_a_file"


class IsFolder(StorageError, IsADirectoryError):  # noqa: N818
    """A location names a folder where a file is needed. Caught as either of its bases."""

    code = "bad_uri"


@contextmanager
def open_regular(path: Path, where: str) -> Iterator[tuple[FileIO, int]]:
    """(a regular file of this machine, its size). `where` names it in messages.

    Raises OSError as `open` does, IsFolder, NotRegular.
    """
    check_kind(os.stat(path), where)  # opening some devices has effects of its own, a rewound tape for one
    descriptor = os.open(path, OPEN_FLAGS)
    with FileIO(descriptor) as file:
        status = os.fstat(descriptor)  # the path may name another file since
        check_kind(status, where)
        yield file, status.st_size


def read_regular(path: Path, limit: int | None, where: str) -> bytes:
    """The bytes of a regular file of this machine; `limit` None reads any number.

    Raises as `open_regular` does, and TooLarge.
    """
    with open_regular(path, where) as (file, size):
        if limit is not None and size > limit:
            raise too_large(where, limit, size)
        first = file.read(size + 1) or b""
        if not first or len(first) == size:
            return first
        if size == 0:
            # The kernel's own files state 0 bytes and may go on for ever.
            raise NotRegular(
                f"{where}: must be a regular file, got one of 0 bytes that has content; copy it to a file"
            )
        return read_stream(file.read, limit, where, first)


def read_stream(
    read: Callable[[int], bytes | None], limit: int | None, where: str, first: bytes = b""
) -> bytes:
    """All that `read(count)` returns until its end, `first` in front; a byte above `limit` at most is asked for.

    For bodies of answers, members of archives and decompressors, whose declared sizes are not believed.
    Raises TooLarge.
    """
    data = io.BytesIO()  # hands its buffer out without a copy
    total = data.write(first)
    while limit is None or total <= limit:
        chunk = read(CHUNK_BYTES if limit is None else min(CHUNK_BYTES, limit + 1 - total))
        if not chunk:
            return data.getvalue()
        total += data.write(chunk)
    raise too_large(where, limit)


def too_large(where: str, limit: int, num_bytes: int | None = None) -> TooLarge:
    """The error of a file over its limit; num_bytes: its size where that is known."""
    got = "more" if num_bytes is None else f"{num_bytes:,}"
    return TooLarge(f"{where}: at most {limit:,} bytes are read, got {got}; use a smaller file")


def check_kind(status: os.stat_result, where: str) -> None:
    """Raises IsFolder, NotRegular for what is no regular file. where: names it in messages."""
    if stat.S_ISDIR(status.st_mode):
        raise IsFolder(f"{where}: cannot read: must be a file, got a folder; correct the path")
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(
            f"{where}: must be a regular file, got a device, pipe or socket; copy its content to a file"
        )
