"""What a catalog may write as the location of a photo or mask: its form, and what a relative one means.

    resolve("../img/a.png", "s3://shop/cat") -> "s3://shop/img/a.png"
    uri_problem("s3://shop")                 -> "must name an object, s3://bucket/key, got no key"

A cell of a catalog is written by anyone. What no file or object can be called is refused here, before any storage is
asked, so that it costs its own row. Knows texts; opens nothing (where photos may lie: `roots`).
"""

from __future__ import annotations

import re

from dreamcache.core.locations import FILE_SCHEME, S3_SCHEME, is_uri
from dreamcache.storage.local import local_path
from dreamcache.storage.store import join

BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4095
THIS_MACHINE = ("", "localhost")
SCHEMES = (S3_SCHEME, FILE_SCHEME)


def resolve(path: str, folder: str) -> str:
    """A catalog's path as a location. folder: the catalog's own, "" for the working folder.

    Beside a catalog in S3, "." and ".." mean what they mean on a disk; a path that leaves the bucket stays as it is,
    and `uri_problem` refuses it.
    """
    if is_uri(path) or path.startswith("/") or not folder:
        return path
    if not folder.startswith(S3_SCHEME):
        return join(folder, path)
    bucket, _, key = folder.removeprefix(S3_SCHEME).partition("/")
    parts = key.split("/") if key else []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return f"{folder}/{path}"
            parts.pop()
        elif part != ".":
            parts.append(part)
    return f"{S3_SCHEME}{bucket}/{'/'.join(parts)}"


def uri_problem(uri: str) -> str | None:
    """What is wrong with a photo's location, as "must ..., got ...; remedy"; None for one that may be opened."""
    try:
        uri.encode()
    except UnicodeEncodeError:
        return (
            "must be text that a file can be called by, got half a surrogate pair; save the catalog as UTF-8"
        )
    if is_uri(uri) and not uri.startswith(SCHEMES):
        return "must be a path or an s3:// URI; copy the file there"
    return _s3_problem(uri) if uri.startswith(S3_SCHEME) else _local_problem(uri)


def _s3_problem(uri: str) -> str | None:
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    size = len(key.encode())
    if not BUCKET.fullmatch(bucket):
        return f"must begin with s3:// and the name of a bucket, got {ascii(bucket)[:80]}; correct the URI"
    if not key or key.endswith("/"):
        return "must name an object, s3://bucket/key, got no key; name the photo itself"
    if size > MAX_KEY_BYTES:
        return (
            f"must have a key of at most {MAX_KEY_BYTES} bytes, got {size}; copy the photo to a shorter key"
        )
    if "\0" in key:
        return "must be a key without a NUL character; correct the URI"
    if {".", ".."} & set(key.split("/")):
        return "must have a key without '.' and '..', and stay in its bucket; correct the path"
    return None


def _local_problem(uri: str) -> str | None:
    if uri.startswith(FILE_SCHEME):
        host = uri.removeprefix(FILE_SCHEME).partition("/")[0]
        if host.lower() not in THIS_MACHINE:
            return f"must be a file of this machine, file:///path, got host {ascii(host)[:80]}; copy it here"
    path = str(local_path(uri))
    if "\0" in path:
        return "must be a path without a NUL character; correct the path"
    try:
        encoded = path.encode()
    except UnicodeEncodeError:  # from %XX of a file:// URI
        return "must be a path in UTF-8; correct the path"
    longest = max(len(part) for part in encoded.split(b"/"))
    if longest > MAX_NAME_BYTES or len(encoded) > MAX_PATH_BYTES:
        return (
            f"must have names of at most {MAX_NAME_BYTES} bytes and {MAX_PATH_BYTES} in all, got {longest} and "
            f"{len(encoded)}; shorten it"
        )
    return None
