"""The object interface on S3 and compatible servers, by boto3. Commits are conditional writes."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from dreamcache.core.errors import StorageError
from dreamcache.storage import s3_client
from dreamcache.storage.bounded import read_stream, too_large
from dreamcache.storage.retry_budget import tries
from dreamcache.storage.s3_errors import (
    error_code,
    http_status,
    is_conflict,
    is_missing_key,
    is_transient,
    is_unknown_outcome,
    storage_error,
)
from dreamcache.storage.store import S3_SCHEME, ObjectInfo, content_type, join

COMMIT_ATTEMPTS = 8
WRITER = "dreamcache-writer"

T = TypeVar("T")

_known_buckets: set[tuple[str, str]] = set()


def split_s3(uri: str) -> tuple[str, str]:
    """(bucket, key) of s3://bucket/key; the key may be empty."""
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    if not uri.startswith(S3_SCHEME) or not bucket:
        raise StorageError(f"{uri}: must be s3://bucket/key, got no bucket; name one", code="bad_uri")
    return bucket, key


class S3Store:
    """See `store.Store`. Etags are the server's, without quotes."""

    def read(self, uri: str, limit: int | None = None) -> bytes:
        bucket, key = split_s3(uri)

        def get() -> bytes:
            response = s3_client.client().get_object(Bucket=bucket, Key=key)
            with contextlib.closing(response["Body"]) as body:
                declared = response.get("ContentLength") or 0
                if limit is not None and declared > limit:
                    raise too_large(uri, limit, declared)
                return read_stream(body.read, limit, uri)

        try:
            # A body that is cut short is requested again here: botocore's own retries end with the headers.
            return _retried(get)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and is_missing_key(error):
                raise FileNotFoundError(f"{uri}: no such object") from None
            raise storage_error(uri, "read", error) from error

    def write(self, uri: str, data: bytes) -> None:
        bucket, key = split_s3(uri)
        fixed = {"Bucket": bucket, "Key": key, "Body": data, "ContentType": content_type(key)}
        try:
            _retried(lambda: s3_client.client().put_object(**fixed))
        except (BotoCoreError, ClientError) as error:
            raise storage_error(uri, "write", error) from error

    def upload(self, uri: str, path: Path) -> None:
        bucket, key = split_s3(uri)
        extra = {"ContentType": content_type(key)}

        def send() -> None:
            with path.open("rb") as file:
                s3_client.client().upload_fileobj(file, bucket, key, ExtraArgs=extra)

        try:
            # boto3 sends large files in parts; the object appears when the last one is there.
            _retried(send)
        except (BotoCoreError, ClientError) as error:
            raise storage_error(uri, "write", error) from error

    def create(self, uri: str, data: bytes) -> bool:
        return _conditional_put(uri, data, {"IfNoneMatch": "*"})

    def replace(self, uri: str, data: bytes, etag: str | None) -> bool:
        return _conditional_put(uri, data, {"IfNoneMatch": "*"} if etag is None else {"IfMatch": f'"{etag}"'})

    def stat(self, uri: str) -> ObjectInfo | None:
        response = _head(uri, "read")
        if response is None:
            _need_bucket(uri, "read")
            return None
        return _info(uri, response["ContentLength"], response)

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        # Pages come in order of the keys, hence the promise of `Store.list`.
        bucket, key = split_s3(prefix_uri)
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        request = {"Bucket": bucket, "Prefix": prefix}
        more = True
        while more:
            try:
                page = _retried(lambda: s3_client.client().list_objects_v2(**request))
            except (BotoCoreError, ClientError) as error:
                raise storage_error(prefix_uri, "list", error) from error
            for entry in page.get("Contents", []):
                name = entry["Key"][len(prefix) :]
                if name and not name.endswith("/"):  # folder marks of other tools
                    yield _info(join(prefix_uri, name), entry["Size"], entry)
            more = page.get("IsTruncated", False)
            request["ContinuationToken"] = page.get("NextContinuationToken", "")

    def delete(self, uri: str) -> None:
        bucket, key = split_s3(uri)
        try:
            _retried(lambda: s3_client.client().delete_object(Bucket=bucket, Key=key))
        except (BotoCoreError, ClientError) as error:
            raise storage_error(uri, "delete", error) from error


def _retried(call: Callable[[], T]) -> T:
    """call(), retried while the storage does not answer and this process's retry budget lasts. botocore's errors."""
    for _ in tries():
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            if not is_transient(error):
                raise
            last = error
    raise last


def _conditional_put(uri: str, data: bytes, condition: dict[str, str]) -> bool:
    """True if the object at `uri` is this call's.

    A lost answer leaves open whether the object was stored, and botocore's own retries then meet their own
    object (412). So the object carries a mark of its writer, and in doubt the mark decides.
    """
    bucket, key = split_s3(uri)
    mark = secrets.token_hex(16)
    fixed = {"Metadata": {WRITER: mark}, "ContentType": content_type(key)}
    doubt = False
    last: BotoCoreError | ClientError | None = None
    for _ in tries(COMMIT_ATTEMPTS):
        try:
            s3_client.client().put_object(Bucket=bucket, Key=key, Body=data, **fixed, **condition)
            return True
        except (BotoCoreError, ClientError) as error:
            last = error
            if isinstance(error, ClientError):
                doubt = doubt or error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
                if http_status(error) == 412 or error_code(error) == "NoSuchKey":
                    ours = doubt and _written_by(uri, mark)
                    if not ours:
                        _need_bucket(uri, "write")  # some servers answer so where there is no bucket
                    return ours
            if is_unknown_outcome(error):
                doubt = True
                if _written_by(uri, mark):
                    return True
            elif not is_transient(error) and not is_conflict(error):
                raise storage_error(uri, "write", error) from error
    assert last is not None
    raise storage_error(uri, "write", last) from last


def _written_by(uri: str, mark: str) -> bool:
    response = _head(uri, "write")
    return response is not None and response.get("Metadata", {}).get(WRITER) == mark


def _head(uri: str, action: str) -> dict[str, Any] | None:
    bucket, key = split_s3(uri)
    try:
        return dict(_retried(lambda: s3_client.client().head_object(Bucket=bucket, Key=key)))
    except ClientError as error:
        if is_missing_key(error):
            return None
        raise storage_error(uri, action, error) from error
    except BotoCoreError as error:
        raise storage_error(uri, action, error) from error


def _need_bucket(uri: str, action: str) -> None:
    """HEAD answers 404 for a missing key and a missing bucket alike; a HEAD of the bucket, once each, decides."""
    bucket, _ = split_s3(uri)
    known = (str(s3_client.client().meta.endpoint_url), bucket)
    if known in _known_buckets:
        return
    try:
        _retried(lambda: s3_client.client().head_bucket(Bucket=bucket))
    except ClientError as error:
        if is_missing_key(error):
            error.response["Error"]["Code"] = "NoSuchBucket"
            raise storage_error(uri, action, error) from error
    except BotoCoreError as error:
        raise storage_error(uri, action, error) from error
    _known_buckets.add(known)


def _info(uri: str, num_bytes: int, response: dict[str, Any]) -> ObjectInfo:
    modified = response["LastModified"].astimezone(UTC)
    return ObjectInfo(uri=uri, num_bytes=num_bytes, etag=response["ETag"].strip('"'), modified=modified)
