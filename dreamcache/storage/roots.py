"""Where a catalog's photos may lie: below its own folder or in its bucket, below `catalog_roots`, on `catalog_hosts`.

    JobSpec.catalog, .catalog_roots, .catalog_hosts --roots_of--> Roots
    Roots --check--> ImageError `outside_roots` for /etc/shadow, `host_not_allowed` for https://other.example/a.png

Local paths are compared after symbolic links are resolved, so that a link in the catalog's folder is no way out. Roots
come from job.yaml, never from a catalog or a manifest. What a host's addresses may be: `storage.web`, which reads from
them. Knows locations; reads no photo.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dreamcache.core.config.hosts import CatalogHost, host_of
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import ImageError, SpecError
from dreamcache.core.locations import FILE_SCHEME, is_object, is_uri, split_object
from dreamcache.core.web_url import HTTPS, is_web, parse_web
from dreamcache.storage.local import local_path
from dreamcache.storage.photo_uri import THIS_MACHINE, check_uri

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz")
"""A folder of parts with such a name, c.parquet/, stands for a file: its rows' paths begin beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Roots:
    """folders: of this machine, resolved, each with / at its end. prefixes: s3://bucket/ or s3://bucket/prefix/, or
    gs://, az://. hosts: of https:// addresses; who reads a photo that these roots allow hands them to `read_photo`."""

    folders: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    hosts: tuple[CatalogHost, ...] = ()

    def check(self, uri: str, where: str) -> None:
        """Raises ImageError `outside_roots`, `host_not_allowed`, or as `check_uri`. where: names the photo."""
        check_uri(uri, where)
        if is_web(uri):
            check_host(uri, self.hosts, where)
        elif not self._holds(uri):
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
        if is_web(uri):
            return host_of(parse_web(uri).site, self.hosts) is not None
        if is_object(uri):
            return uri.startswith(self.prefixes)
        # A root itself is below itself: that it is no photo is for the reader to say.
        return f"{real_path(uri)}/".startswith(self.folders)


def roots_of_job(spec: JobSpec) -> Roots:
    """`roots_of` the job file's settings."""
    return roots_of(spec.catalog, spec.catalog_roots, spec.catalog_hosts)


def roots_of(catalog: str, extra: Sequence[str] = (), hosts: Sequence[CatalogHost] = ()) -> Roots:
    """The roots of a job. extra: `catalog_roots`. hosts: `catalog_hosts`.

    Raises SpecError for a root that is no location.
    """
    for root in extra:
        host = root.removeprefix(FILE_SCHEME).partition("/")[0] if root.startswith(FILE_SCHEME) else ""
        lacks_bucket = is_object(root) and not split_object(root)[1]
        known = not is_uri(root) or is_object(root) or root.startswith(FILE_SCHEME)
        if not root.strip() or "\0" in root or lacks_bucket or not known or host.lower() not in THIS_MACHINE:
            raise SpecError(
                f"catalog_roots: must be folders, s3://bucket or s3://bucket/prefix (or gs://, az://), got {root!r}; "
                "correct it"
            )
    remote = [_prefix(root) for root in extra if is_object(root)]
    local = [_resolved(root) for root in extra if not is_object(root)]
    if is_object(catalog):
        remote.insert(0, _prefix(bucket_of(catalog)))
    elif local_path(catalog).is_dir() and not catalog.rstrip("/").lower().endswith(TABLE_ENDINGS):
        local.insert(0, _resolved(catalog))
    else:
        local.insert(0, _resolved(str(local_path(catalog).parent)))
    return Roots(folders=tuple(local), prefixes=tuple(remote), hosts=tuple(hosts))


def check_host(uri: str, hosts: Sequence[CatalogHost], where: str) -> None:
    """Raises ImageError `host_not_allowed` unless one of `hosts` is that of an https:// address."""
    site = parse_web(uri).site
    if host_of(site, hosts) is None:
        raise ImageError(
            f"{where}: must be on a host that the job file names, got '{site}'; if it is yours, add it: "
            f"catalog_hosts: [{{host: '{site}'}}]",
            code="host_not_allowed",
        )


def root_for(uri: str) -> str:
    """What `catalog_roots` must name so that this photo may be read: its bucket, or its folder after links; of an
    https:// address its host, which `catalog_hosts` must name."""
    if is_web(uri):
        return HTTPS + parse_web(uri).site
    if is_object(uri):
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
    """s3://bucket of an object's URI."""
    scheme, bucket, _ = split_object(uri)
    return scheme + bucket


def _prefix(uri: str) -> str:
    return uri.rstrip("/") + "/"


def _resolved(folder: str) -> str:
    return real_path(folder).rstrip("/") + "/"
