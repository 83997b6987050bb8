"""Where a catalog's photos may lie: below its own folder or in its own bucket, and below `catalog_roots`.

    JobSpec.catalog, .catalog_roots --roots_of--> Roots --check--> ImageError `outside_roots` for /etc/shadow

Local paths are compared after symbolic links are resolved, so that a link in the catalog's folder is no way out. Roots
come from job.yaml, never from a catalog or a manifest. Knows locations; reads no photo.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dreamcache.core.errors import ImageError, SpecError
from dreamcache.core.locations import FILE_SCHEME, S3_SCHEME, is_uri
from dreamcache.storage.local import local_path
from dreamcache.storage.photo_uri import THIS_MACHINE, check_uri

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz")
"""A folder of parts with such a name, c.parquet/, stands for a file: its rows' paths begin beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Roots:
    """folders: of this machine, resolved, each with / at its end. prefixes: s3://bucket/ or s3://bucket/prefix/."""

    folders: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def check(self, uri: str, where: str) -> None:
        """Raises ImageError `outside_roots`, or as `check_uri`. where: names the photo in messages."""
        check_uri(uri, where)
        if not self._holds(uri):
            raise ImageError(
                f"{where}: must lie below the catalog's folder or bucket or below catalog_roots, got one "
                f"in '{root_for(uri)[:200]}'; name that root in the job file's catalog_roots ('dreamcache plan' "
                "prints the line), or copy the photo",
                code="outside_roots",
            )

    def allows(self, uri: str) -> bool:
        """Whether a photo at `uri` may be read."""
        try:
            check_uri(uri, "photo")
        except ImageError:
            return False
        return self._holds(uri)

    def _holds(self, uri: str) -> bool:
        if uri.startswith(S3_SCHEME):
            return uri.startswith(self.prefixes)
        # A root itself is below itself: that it is no photo is for the reader to say.
        return f"{real_path(uri)}/".startswith(self.folders)


def roots_of(catalog: str, extra: Sequence[str] = ()) -> Roots:
    """The roots of a job. extra: `catalog_roots`. Raises SpecError for a root that is no location."""
    for root in extra:
        host = root.removeprefix(FILE_SCHEME).partition("/")[0] if root.startswith(FILE_SCHEME) else ""
        bad_s3 = root.startswith(S3_SCHEME) and not root.removeprefix(S3_SCHEME).partition("/")[0]
        known = not is_uri(root) or root.startswith((S3_SCHEME, FILE_SCHEME))
        if not root.strip() or "\0" in root or bad_s3 or not known or host.lower() not in THIS_MACHINE:
            raise SpecError(
                f"catalog_roots: must be folders, s3://bucket or s3://bucket/prefix, got {root!r}; correct it"
            )
    remote = [_prefix(root) for root in extra if root.startswith(S3_SCHEME)]
    local = [_resolved(root) for root in extra if not root.startswith(S3_SCHEME)]
    if catalog.startswith(S3_SCHEME):
        remote.insert(0, _prefix(bucket_of(catalog)))
    elif local_path(catalog).is_dir() and not catalog.rstrip("/").lower().endswith(TABLE_ENDINGS):
        local.insert(0, _resolved(catalog))
    else:
        local.insert(0, _resolved(str(local_path(catalog).parent)))
    return Roots(folders=tuple(local), prefixes=tuple(remote))


def root_for(uri: str) -> str:
    """What `catalog_roots` must name so that this photo may be read: its bucket, or its folder after links."""
    if uri.startswith(S3_SCHEME):
        return bucket_of(uri)
    return os.path.dirname(real_path(uri))


def real_path(uri: str) -> str:
    """The path of a local URI after symbolic links. One of so many links that no file can be opened stays as it is."""
    path = local_path(uri)
    try:
        return os.path.realpath(path)
    except RecursionError:
        return os.path.abspath(path)


def is_below(uri: str, folder: str) -> bool:
    """Whether `uri` is `folder` or lies in it, after symbolic links; both local or both s3://."""
    one, other = (
        _prefix(name) if is_uri(name) and not name.startswith(FILE_SCHEME) else _resolved(name)
        for name in (uri, folder)
    )
    return one.startswith(other)


def bucket_of(uri: str) -> str:
    """s3://bucket of an S3 URI."""
    return S3_SCHEME + uri.removeprefix(S3_SCHEME).partition("/")[0]


def _prefix(uri: str) -> str:
    return uri.rstrip("/") + "/"


def _resolved(folder: str) -> str:
    return real_path(folder).rstrip("/") + "/"
