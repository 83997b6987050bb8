"""What a catalog may write as the location of a photo or mask: its form, and what a relative one means.

    resolve("../img/a.png", "s3://shop/cat") -> "s3://shop/img/a.png"
    check_uri("s3://shop", "row 2")          -> ImageError: must name an object, s3://bucket/key, got no key
    check_uri("https://me@shop/a.png", "row 2") -> ImageError: must name no user or password

A cell of a catalog is written by anyone. What no file or object can be called is refused here, before any storage is
asked, so that it costs its own row. Knows texts; opens nothing (where photos may lie: `roots`).
"""

from __future__ import annotations

import re

from dreamcache.core.errors import ImageError
from dreamcache.core.locations import FILE_SCHEME, OBJECT_SCHEMES, is_object, is_uri, split_object
from dreamcache.core.web_url import is_web, parse_web
from dreamcache.storage.local import local_path
from dreamcache.storage.store import join

BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4095
THIS_MACHINE = ("", "localhost")
SCHEMES = (*OBJECT_SCHEMES, FILE_SCHEME)


def resolve(path: str, folder: str) -> str:
    """A catalog's path as a location. folder: the catalog's own, "" for the working folder.

    Beside a catalog in a store of objects, "." and ".." mean what they mean on a disk; a path that leaves the bucket
    stays as it is, and `check_uri` refuses it.
    """
    if is_uri(path) or path.startswith("/") or not folder:
        return path
    if not is_object(folder):
        return join(folder, path)
    scheme, bucket, key = split_object(folder)
    parts = key.split("/") if key else []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return f"{folder}/{path}"
            parts.pop()
        elif part != ".":
            parts.append(part)
    return f"{scheme}{bucket}/{'/'.join(parts)}"


def check_uri(uri: str, where: str) -> None:
    """Raises ImageError `bad_image_uri` for what is no location of a photo, `missing_image` for a name that none has.

    where: names the photo in messages.
    """
    if is_web(uri):
        try:
            parse_web(uri)
        except ValueError as error:
            raise ImageError(f"{where}: {error}; correct the address", code="bad_image_uri") from error
        return
    if is_uri(uri) and not uri.startswith(SCHEMES):
        raise ImageError(
            f"{where}: must be a path, an s3://, gs:// or az:// URI, or an https:// address of a host in "
            "catalog_hosts; copy the file there",
            code="bad_image_uri",
        )
    is_local = not is_object(uri)
    path = str(local_path(uri)) if is_local else uri
    if (character := _impossible(path)) is not None:
        shown = where.encode("utf-8", "backslashreplace").decode()
        raise ImageError(
            f"{shown}: must be an existing file, got a name with {character}, which none has; correct it",
            code="missing_image",
        )
    problem = _local_problem(uri, path) if is_local else _object_problem(uri)
    if problem is not None:
        raise ImageError(f"{where}: {problem}", code="bad_image_uri")


def _impossible(path: str) -> str | None:
    """A character that no file's or object's name holds."""
    if "\0" in path:
        return "a NUL character"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "half a surrogate pair"
    return None


def _object_problem(uri: str) -> str | None:
    scheme, bucket, key = split_object(uri)
    size = len(key.encode())
    if not BUCKET.fullmatch(bucket):
        return f"must begin with {scheme} and the name of a bucket, got {ascii(bucket)[:80]}; correct the URI"
    if not key or key.endswith("/"):
        return f"must name an object, {scheme}bucket/key, got no key; name the photo itself"
    if size > MAX_KEY_BYTES:
        return f"must have a key of at most {MAX_KEY_BYTES} bytes, got {size}; copy it to a shorter key"
    if {".", ".."} & set(key.split("/")):
        return "must have a key without '.' and '..', and stay in its bucket; correct the path"
    return None


def _local_problem(uri: str, path: str) -> str | None:
    if uri.startswith(FILE_SCHEME):
        host = uri.removeprefix(FILE_SCHEME).partition("/")[0]
        if host.lower() not in THIS_MACHINE:
            return f"must be a file of this machine, file:///path, got host {ascii(host)[:80]}; copy it here"
    encoded = path.encode()
    longest = max(len(part) for part in encoded.split(b"/"))
    if longest > MAX_NAME_BYTES or len(encoded) > MAX_PATH_BYTES:
        return (
            f"must have names of at most {MAX_NAME_BYTES} bytes and {MAX_PATH_BYTES} in all, got {longest} and "
            f"{len(encoded)}; shorten it"
        )
    return None
