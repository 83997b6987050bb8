"""One way in: `store_for(uri)` gives the store that holds a place, a local folder or an S3 bucket."""

from __future__ import annotations

from dreamcache.core.errors import StorageError
from dreamcache.storage.store import FILE_SCHEME, S3_SCHEME, Store, join

__all__ = ["join", "store_for"]


def store_for(uri: str) -> Store:
    """The store that holds `uri`. StorageError `bad_uri` for a scheme that is not supported."""
    if uri.startswith(S3_SCHEME):
        from dreamcache.storage.s3 import S3Store  # boto3 is loaded only by who uses it

        return S3Store()
    if "://" in uri and not uri.startswith(FILE_SCHEME):
        raise StorageError(
            f"{uri}: a place must be a local path or start with s3:// or file://, "
            f"got {uri.split('://')[0]}://; use one of these",
            code="bad_uri",
        )
    from dreamcache.storage.local import LocalStore

    return LocalStore()
