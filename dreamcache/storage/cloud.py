"""Objects at gs:// and az://, read through fsspec's file systems: gcsfs and adlfs, packages of extras.

    gs://bucket/key      GOOGLE_APPLICATION_CREDENTIALS, or the machine's account; STORAGE_EMULATOR_HOST
    az://container/key   AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with a key, a token or the
                         machine's identity; AZURE_STORAGE_ANON=true for public containers

Nothing is written here: `gs` writes at gs://, and az:// has no conditional write that has passed `probe`. Names go to
the file system as they are, so neither wildcards nor fsspec's chains ("a::b") mean anything. Errors: `cloud_errors`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import AZ_SCHEME, GS_SCHEME
from dreamcache.storage.bounded import IsFolder, too_large
from dreamcache.storage.cloud_errors import answered, no_bucket
from dreamcache.storage.store import ObjectInfo, relative_to

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ANSWER_S = 90.0
"""Of one request with the library's own retries, beside the time that its bytes take."""
LEAST_BYTES_PER_S = 1_000_000
EXTRAS = {GS_SCHEME: "gs", AZ_SCHEME: "azure"}
SETTINGS = ("AZURE_", "GOOGLE_", "GCLOUD_", "GCSFS_", "STORAGE_EMULATOR_HOST")

_Key = tuple[int, str, tuple[tuple[str, str], ...]]
_filesystems: dict[_Key, AbstractFileSystem] = {}
known_buckets: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class CloudStore:
    """See `store.Store`; writing raises StorageError `bad_uri`. A listing is held in memory as a whole."""

    scheme: str

    def read(self, uri: str, limit: int | None = None) -> bytes:
        info = self._info(uri, "read")
        if info is None:
            raise FileNotFoundError(f"{uri}: no such object")
        if info.get("type") == "directory":
            raise IsFolder(f"{uri}: cannot read: must be an object, got a folder; correct the URI")
        size = int(info.get("size") or 0)
        if limit is not None and size > limit:
            raise too_large(uri, limit, size)
        if not size:
            return b""
        try:
            # No more than was stated is asked for, so that an object that grows meanwhile is cut, and differs.
            seconds = ANSWER_S + size / LEAST_BYTES_PER_S
            data: bytes = self._call(uri, "read", "_cat_file", seconds=seconds, start=0, end=size)
        except FileNotFoundError:
            raise FileNotFoundError(f"{uri}: no such object") from None
        if len(data) > size:
            raise too_large(uri, size, len(data))
        return data

    def stat(self, uri: str) -> ObjectInfo | None:
        info = self._info(uri, "read")
        return None if info is None or info.get("type") == "directory" else object_info(uri, info)

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        uri = prefix_uri.rstrip("/")
        try:
            # Many answers, each with its limit: a million objects are no fault.
            entries = self._call(uri, "list", "_find", seconds=None, detail=True)
        except FileNotFoundError:
            entries = {}
        if not entries:
            self._need_bucket(uri, "list")
        for path, info in sorted(entries.items()):
            if info.get("type") != "directory":
                name = relative_to(self.scheme + path, uri)
                if name and not name.endswith("/"):  # folder marks of other tools
                    yield object_info(f"{uri}/{name}", info)

    def write(self, uri: str, data: bytes) -> None:
        _refuse(uri)

    def upload(self, uri: str, path: Path) -> None:
        _refuse(uri)

    def create(self, uri: str, data: bytes) -> bool:
        _refuse(uri)

    def replace(self, uri: str, data: bytes, etag: str | None) -> bool:
        _refuse(uri)

    def delete(self, uri: str) -> None:
        _refuse(uri)

    def _info(self, uri: str, action: str) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] = self._call(uri, action, "_info")
        except FileNotFoundError:
            self._need_bucket(uri, action)
            return None
        return info

    def _call(
        self, uri: str, action: str, method: str, *, seconds: float | None = ANSWER_S, **options: Any
    ) -> Any:
        """The file system's coroutine of that name, run to its end within so many seconds; None: only its requests
        have a limit. Raises FileNotFoundError and StorageError."""
        from fsspec.asyn import sync

        with answered(uri, action):
            system = filesystem(self.scheme)
            path = uri.removeprefix(self.scheme)
            return sync(system.loop, getattr(system, method), path, timeout=seconds, **options)

    def _need_bucket(self, uri: str, action: str) -> None:
        """A missing object and a missing bucket are answered alike; one look, once for each bucket, decides."""
        bucket = self.scheme + uri.removeprefix(self.scheme).partition("/")[0]
        if bucket in known_buckets:
            return
        try:
            self._call(bucket, action, "_info")
        except FileNotFoundError:
            raise no_bucket(uri, action, bucket) from None
        known_buckets.add(bucket)


def filesystem(scheme: str) -> AbstractFileSystem:
    """One for each process and settings; credentials stay in the process. Raises StorageError `no_package`."""
    settings = tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(SETTINGS)))
    key = os.getpid(), scheme, settings
    with _lock:
        known = _filesystems.get(key)
        if known is None:
            known = _filesystems[key] = _OPENERS[scheme]()
        return known


def _open_gs() -> AbstractFileSystem:
    try:
        # The package's own name stands for a class that asks for each bucket's kind over gRPC first.
        from gcsfs.core import GCSFileSystem
    except ImportError as error:
        raise _no_package(GS_SCHEME, error) from error
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a traceback for each error that it raises
    token = "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else None
    return GCSFileSystem(token=token, use_listings_cache=False, skip_instance_cache=True)


def _open_az() -> AbstractFileSystem:
    try:
        from adlfs import AzureBlobFileSystem
    except ImportError as error:
        raise _no_package(AZ_SCHEME, error) from error
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    # Its default reads as nobody: the machine's identity is tried unless the user asks for that.
    anon = os.environ.get("AZURE_STORAGE_ANON", "false").lower() in ("1", "true", "t")
    return AzureBlobFileSystem(
        anon=anon, use_listings_cache=False, skip_instance_cache=True, read_timeout=int(ANSWER_S)
    )


_OPENERS: dict[str, Callable[[], AbstractFileSystem]] = {GS_SCHEME: _open_gs, AZ_SCHEME: _open_az}


def _no_package(scheme: str, error: ImportError) -> StorageError:
    return StorageError(
        f"{scheme}: needs packages that are not installed, got '{error}'; pip install 'dreamcache[{EXTRAS[scheme]}]'",
        code="no_package",
    )


def _refuse(uri: str) -> NoReturn:
    raise refusal(uri)


def refusal(uri: str) -> StorageError:
    """Of a location in these stores that would have to be written."""
    return StorageError(
        f"{uri}: outputs and caches must be on a disk, at s3:// or at gs://, az:// is for what is read; choose another "
        "location",
        code="bad_uri",
    )


def object_info(uri: str, info: Mapping[str, object]) -> ObjectInfo:
    """The answer of a service, or of a file system, about one object."""
    # A generation is that of one write; GCS has an ETag that metadata changes too.
    etag = str(info.get("generation") or info.get("etag") or "").strip('"')
    return ObjectInfo(uri=uri, num_bytes=int(str(info.get("size") or 0)), etag=etag, modified=_modified(info))


def _modified(info: Mapping[str, object]) -> datetime:
    value = info.get("last_modified") or info.get("updated") or info.get("timeCreated")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    return value.astimezone(UTC) if isinstance(value, datetime) else datetime.fromtimestamp(0, UTC)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _filesystems.clear()


os.register_at_fork(after_in_child=_after_fork)
