"""Images of a job read in parallel and given in order, a bounded number at a time; files sent to where they belong.

Knows stores; knows nothing of forms of export.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dreamcache.errors import ImageError
from dreamcache.storage.filesystem import join, store_for
from dreamcache.storage.local import local_path
from dreamcache.storage.store import S3_SCHEME
from jobs.export.names import Row

THREADS = 16
WINDOW = 4 * THREADS

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """An image that the manifest names and the storage has not, or not as it was."""

    item_id: str
    message: str


def in_parallel(action: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """action(item) of every item, in order, computed by threads; never more than WINDOW results wait."""
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="export") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(action, item))
                if len(waiting) >= WINDOW:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_image(output: str, row: Row) -> bytes:
    """The image's file. Raises ImageError when it is gone or has another size than its record says."""
    uri = join(output, row["key"])
    try:
        data = store_for(uri).read(uri)
    except FileNotFoundError:
        raise ImageError(
            f"{uri}: the manifest names this image, there is none; was it deleted?", code="lost"
        ) from None
    if len(data) != row["num_bytes"]:
        message = f"{uri}: must have {row['num_bytes']} bytes as recorded, has {len(data)}; it was changed"
        raise ImageError(message, code="lost")
    return data


def send_file(path: Path, uri: str) -> None:
    """Puts a local file of any size at a path or s3:// URI, whole or not at all. Raises StorageError."""
    if not uri.startswith(S3_SCHEME):
        target = local_path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        shutil.move(path, temporary)
        temporary.replace(target)
        return
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    from dreamcache.errors import StorageError
    from dreamcache.storage import s3_client
    from dreamcache.storage.s3 import split_s3
    from dreamcache.storage.s3_errors import storage_error

    bucket, key = split_s3(uri)
    try:
        s3_client.client().upload_file(str(path), bucket, key)
    except (BotoCoreError, ClientError) as error:
        raise storage_error(uri, "write", error) from error
    except S3UploadFailedError as error:
        raise StorageError(
            f"{uri}: cannot write: {' '.join(str(error).split())}; check bucket and rights"
        ) from error
