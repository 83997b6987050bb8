"""The same locations for pyarrow.dataset and Ray Data, and what Arrow raises for files that are damaged.

S3 goes through s3fs, because pyarrow's own S3 file system does not honour AWS_ENDPOINT_URL, and GCS through gcsfs, as
our store there. What these functions return can be pickled to other processes and carries no credentials: each process
finds its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import GS_SCHEME
from dreamcache.storage.cloud_errors import answered
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import open_store
from dreamcache.storage.store import S3_SCHEME

DAMAGE = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
"""What Arrow raises for damaged files, beside its own errors."""


@contextmanager
def reading(uri: str, what: str, *, code: str, remedy: str) -> Iterator[None]:
    """What Arrow raises in this block becomes a StorageError: `uri` must be `what` that is intact."""
    try:
        yield
    except DAMAGE as error:
        raise StorageError(
            f"{uri}: must be {what} that is intact, got {type(error).__name__}: {error}; {remedy}", code=code
        ) from error


def pyarrow_filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """(file system, path in it) of a location that `open_store` takes; StorageError for others or bad AWS settings."""
    if uri.startswith(S3_SCHEME):
        import s3fs

        from dreamcache.storage.s3 import split_s3

        bucket, key = split_s3(uri)
        handler = pyarrow.fs.FSSpecHandler(s3fs.S3FileSystem(**s3fs_options()))
        return pyarrow.fs.PyFileSystem(handler), f"{bucket}/{key}".rstrip("/")
    if uri.startswith(GS_SCHEME):
        from dreamcache.storage.cloud import filesystem

        handler = pyarrow.fs.FSSpecHandler(filesystem(GS_SCHEME))
        return pyarrow.fs.PyFileSystem(handler), uri.removeprefix(GS_SCHEME).rstrip("/")
    open_store(uri)  # refuses other schemes
    return pyarrow.fs.LocalFileSystem(), str(local_path(uri).absolute())


def folder_names(uri: str) -> list[str] | None:
    """Names of the folders right below `uri`; what is deeper is not listed. None where nothing is there.

    Raises StorageError.
    """
    filesystem, path = pyarrow_filesystem(uri)
    try:
        if uri.startswith(GS_SCHEME):
            with answered(uri, "list"):  # gcsfs' find, which Arrow calls, lists all that is below
                listed = filesystem.handler.fs.ls(path, detail=True)
            folders = (entry["name"].rstrip("/") for entry in listed if entry["type"] == "directory")
            return [name.rpartition("/")[2] for name in folders]
        entries = filesystem.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
        names = [info.base_name for info in entries if info.type == pyarrow.fs.FileType.Directory]
        is_there = bool(names) or filesystem.get_file_info(path).type != pyarrow.fs.FileType.NotFound
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{uri}: must be a folder that can be listed, got '{error}'; check the location and rights"
        ) from error
    return names if is_there else None


def s3fs_options() -> dict[str, Any]:
    """Arguments for `s3fs.S3FileSystem`: endpoint, region, time-outs as in `s3_client`; no credentials."""
    from botocore.exceptions import BotoCoreError

    from dreamcache.storage import s3_client
    from dreamcache.storage.s3_errors import storage_error

    try:
        endpoint, region = s3_client.custom_endpoint(), s3_client.region()
    except BotoCoreError as error:
        raise storage_error(S3_SCHEME, "read", error) from error
    config = s3_client.config_options()
    if endpoint is not None:
        config["s3"] = {"addressing_style": "path"}
    return {
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": region},
        "config_kwargs": config,
        "use_listings_cache": False,  # parts written by other workers must be seen
    }
