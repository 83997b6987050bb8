"""Objects at gs://, read and written through gcsfs. Commits are conditional writes: an etag is an object's generation.

    create(uri, data)        -> ifGenerationMatch=0
    replace(uri, data, etag) -> ifGenerationMatch=etag

An object goes up in one multipart request, for which emulators too honour the precondition (for media uploads they do
not); `probe` finds a server that does not. Knows requests and answers of the JSON API; errors: `cloud_errors`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import GS_SCHEME, split_object
from dreamcache.storage import cloud
from dreamcache.storage.bounded import too_large
from dreamcache.storage.cloud_errors import answered, no_bucket
from dreamcache.storage.retry_budget import tries
from dreamcache.storage.store import ObjectInfo, content_type

WRITER = "dreamcache-writer"
GENERATION = re.compile(r"[1-9][0-9]{0,17}")
"""Of an object that is there; 0 would mean that none is."""
FIELDS = "name,size,generation,updated,contentEncoding"
PAGE_KEYS = 1000
ONE_REQUEST_BYTES = 8_000_000

T = TypeVar("T")


class GsStore:
    """See `store.Store`."""

    def read(self, uri: str, limit: int | None = None) -> bytes:
        about = self._about(uri, "read", FIELDS)
        if about is None:
            raise FileNotFoundError(f"{uri}: no such object")
        size = int(about["size"])
        if limit is not None and size > limit:
            raise too_large(uri, limit, size)
        _check_encoding(uri, about)
        # Of an object that is replaced meanwhile the new bytes, whole, as a GET is of one version; of a larger one than
        # may be read, a byte more than that.
        if size == 0:
            return b""
        options: dict[str, Any] = {"json_out": False}
        if limit is not None:
            options["headers"] = {"Range": f"bytes=0-{limit}"}
        try:
            data: bytes = self._request(uri, "read", "GET", {"alt": "media"}, num_bytes=size, **options)[1]
        except FileNotFoundError:
            raise FileNotFoundError(f"{uri}: no such object") from None
        if limit is not None and len(data) > limit:
            raise too_large(uri, limit)
        return data

    def write(self, uri: str, data: bytes) -> None:
        try:
            self._put(uri, data)
        except FileNotFoundError:
            raise _no_bucket(uri, "write") from None

    def upload(self, uri: str, path: Path) -> None:
        size = path.stat().st_size
        if size <= ONE_REQUEST_BYTES:
            self.write(uri, path.read_bytes())
            return
        try:
            _retried(lambda: _put_file(uri, path, size))
        except FileNotFoundError:
            raise _no_bucket(uri, "write") from None

    def create(self, uri: str, data: bytes) -> bool:
        return self._conditional_put(uri, data, "0")

    def replace(self, uri: str, data: bytes, etag: str | None) -> bool:
        if etag is None:
            return self.create(uri, data)
        return GENERATION.fullmatch(etag) is not None and self._conditional_put(uri, data, etag)

    def stat(self, uri: str) -> ObjectInfo | None:
        about = self._about(uri, "read", FIELDS)
        return None if about is None else cloud.object_info(uri, about)

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        # Pages come in order of the names, hence the promise of `Store.list`.
        uri = prefix_uri.rstrip("/")
        key = _split(uri)[1]
        prefix = f"{key}/" if key else ""
        query: dict[str, object] = {
            "prefix": prefix or None,
            "maxResults": PAGE_KEYS,
            "fields": f"nextPageToken,items({FIELDS})",
        }
        while True:
            try:
                page = self._request(uri, "list", "GET", query, of_bucket=True)
            except FileNotFoundError:
                raise _no_bucket(uri, "list") from None
            for item in page.get("items", ()):
                name = item["name"][len(prefix) :]
                if name and not name.endswith("/"):  # folder marks of other tools
                    yield cloud.object_info(f"{uri}/{name}", item)
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def delete(self, uri: str) -> None:
        try:
            self._request(uri, "delete", "DELETE", json_out=False)
        except FileNotFoundError:
            return

    def _about(self, uri: str, action: str, fields: str) -> dict[str, Any] | None:
        """The object's metadata; None where there is none."""
        try:
            about: dict[str, Any] = self._request(uri, action, "GET", {"fields": fields})
        except FileNotFoundError:
            self._need_bucket(uri, action)
            return None
        return about

    def _need_bucket(self, uri: str, action: str) -> None:
        """A missing object and a missing bucket are answered alike; one listing, once for each bucket, decides."""
        bucket = _split(uri)[0]
        if GS_SCHEME + bucket not in cloud.known_buckets:
            try:
                self._request(uri, action, "GET", {"maxResults": 1, "fields": "kind"}, of_bucket=True)
            except FileNotFoundError:
                raise _no_bucket(uri, action) from None
            cloud.known_buckets.add(GS_SCHEME + bucket)

    def _conditional_put(self, uri: str, data: bytes, generation: str) -> bool:
        """True if the object at `uri` is this call's.

        A request whose answer was lost is sent again, and may then meet its own object (412). So the object carries a
        mark of its writer, and where the precondition does not hold the mark decides.
        """
        mark = secrets.token_hex(16)
        try:
            self._put(uri, data, {"ifGenerationMatch": generation}, mark=mark)
            return True
        except FileExistsError:
            return self._written_by(uri, mark)
        except FileNotFoundError:
            self._need_bucket(uri, "write")
            return False

    def _written_by(self, uri: str, mark: str) -> bool:
        about = self._about(uri, "write", "metadata")
        return about is not None and (about.get("metadata") or {}).get(WRITER) == mark

    def _put(
        self, uri: str, data: bytes, precondition: Mapping[str, str] = {}, *, mark: str | None = None
    ) -> None:
        bucket, key = _split(uri)
        kind, boundary = content_type(key), secrets.token_hex(16)
        about = {
            "name": key,
            "contentType": kind,
            "md5Hash": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            "metadata": {} if mark is None else {WRITER: mark},
        }
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
            f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n"
        )
        self._request(
            uri,
            "write",
            "POST",
            {"uploadType": "multipart", **precondition},
            path=f"/upload/storage/v1/b/{quote(bucket, safe='')}/o",
            num_bytes=len(data),
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            data=b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode())),
        )

    def _request(
        self,
        uri: str,
        action: str,
        method: str,
        query: Mapping[str, object] = {},
        *,
        path: str | None = None,
        of_bucket: bool = False,
        num_bytes: int = 0,
        **options: Any,
    ) -> Any:
        """The JSON of an answer; with json_out=False (headers, body). path: after the host; None for the object's, or
        its bucket's objects. num_bytes: how much goes up or comes down.

        Raises FileNotFoundError (404), FileExistsError (412) and StorageError.
        """
        bucket, key = _split(uri)
        if not (key or of_bucket):
            raise FileNotFoundError(uri)
        names: tuple[str, ...] = (bucket,) if of_bucket else (bucket, key)
        form = "b/{}/o" if of_bucket else "b/{}/o/{}"
        options = {"json_out": True, "timeout": _seconds(num_bytes), **query, **options}

        def send() -> Any:
            from fsspec.asyn import sync

            with answered(uri, action):
                system = cloud.filesystem(GS_SCHEME)
                if path is not None:
                    return sync(system.loop, system._call, method, f"{system._location}{path}", **options)
                return sync(system.loop, system._call, method, form, *names, **options)

        return _retried(send)


def _retried(send: Callable[[], T]) -> T:
    """send() with gcsfs' own retries, and again while the storage does not answer and the retry budget lasts."""
    for _ in tries(1):
        try:
            return send()
        except StorageError as error:
            if error.code != "storage_unreachable":
                raise
            last = error
    raise last


def _put_file(uri: str, path: Path, size: int) -> None:
    """By gcsfs' resumable upload, part by part; the object appears when the last one is there."""
    from fsspec.asyn import sync

    with answered(uri, "write"):
        system = cloud.filesystem(GS_SCHEME)
        target = uri.removeprefix(GS_SCHEME)
        options = {"content_type": content_type(target), "timeout": _seconds(size)}
        sync(system.loop, system._put_file, str(path), target, **options)


def _seconds(num_bytes: int) -> float:
    return cloud.ANSWER_S + num_bytes / cloud.LEAST_BYTES_PER_S


def _check_encoding(uri: str, about: dict[str, Any]) -> None:
    """A body that is unpacked on its way has any size."""
    if (encoding := about.get("contentEncoding")) not in (None, "", "identity"):
        raise StorageError(
            f"{uri}: cannot read: an object without Content-Encoding is needed, got '{encoding}'; store it unpacked",
            code="encoded_object",
        )


def _split(uri: str) -> tuple[str, str]:
    """(bucket, key); the key may be empty."""
    _, bucket, key = split_object(uri)
    if not bucket:
        raise StorageError(f"{uri}: must be gs://bucket/key, got no bucket; name one", code="bad_uri")
    return bucket, key


def _no_bucket(uri: str, action: str) -> StorageError:
    return no_bucket(uri, action, f"{GS_SCHEME}{_split(uri)[0]}")
