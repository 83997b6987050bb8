"""The checks of storage: a job's catalog, feature cache and output. Knows stores; knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import ImageError
from dreamcache.core.locations import Kind, settings_of
from dreamcache.core.web_url import HTTPS
from dreamcache.storage.open_store import store_for
from dreamcache.storage.probe import check_conditional_writes, check_read_write, check_swap, latency_ms
from jobs.doctor.check import Trial, Verdict, ok, warn
from jobs.planning.catalog import read_catalog

SLOW_MS = 500.0
ANSWERED = ("missing_image", "access_denied", "bad_response", "bad_redirect", "host_not_allowed", "too_large")
"""Codes of a host's first page that say nothing against its photos."""


def trials(spec: JobSpec) -> Iterator[Trial]:
    """Catalog: its first row is read, its roots are listed, its hosts are asked. What is written: also read."""
    yield Trial(name="catalog: read", attempt=lambda: _catalog(spec))
    for root in spec.catalog_roots:
        yield Trial(name=f"catalog_roots: list {root}", attempt=partial(_root, root))
    for host in spec.catalog_hosts:
        yield Trial(name=f"catalog_hosts: ask {host.host}", attempt=partial(_host, host))
    whole = replace(spec, cache=spec.cache_uri)
    written = [setting for setting in settings_of(whole) if setting.kind is Kind.WRITTEN]
    for setting in sorted(written, key=lambda setting: setting.key):
        name, uri = setting.key, setting.value
        yield Trial(name=f"{name}: write, read, list, delete", attempt=partial(_usable, uri))
        yield Trial(name=f"{name}: conditional write", attempt=partial(_conditional, uri))
        if name == "output":
            yield Trial(name=f"{name}: compare and swap, race", attempt=partial(_swap, uri))
        yield Trial(name=f"{name}: latency", attempt=partial(_latency, uri))


def _catalog(spec: JobSpec) -> Verdict:
    entry = next(iter(read_catalog(spec.catalog, columns=spec.columns, class_name=spec.class_name)), None)
    if entry is None:
        return warn(f"{spec.catalog} has no rows", "add products to it")
    return ok(f"{spec.catalog} can be read")


def _root(uri: str) -> Verdict:
    if next(store_for(uri).list(uri), None) is None:
        return warn(f"{uri} holds nothing that can be seen from here", "correct the path, or mount it")
    return ok(f"{uri} can be listed")


def _host(host: CatalogHost) -> Verdict:
    from dreamcache.storage.web.client import WebPhotos

    try:
        WebPhotos([host]).fetch(
            f"{HTTPS}{host.site}/", f"catalog_hosts: {host.host}", ImageLimits().max_bytes
        )
    except ImageError as error:
        if error.code not in ANSWERED:
            raise
    return ok(f"{host.host} answers at an address that may be asked, with a trusted certificate")


def _usable(uri: str) -> Verdict:
    check_read_write(store_for(uri), uri)
    return ok(f"{uri} can be written, read, listed and deleted in")


def _conditional(uri: str) -> Verdict:
    check_conditional_writes(store_for(uri), uri)
    return ok("a second write under one key is refused, and so is one for another version")


def _swap(uri: str) -> Verdict:
    check_swap(store_for(uri), uri)
    return ok("one version is swapped once, and of 8 writers that race for one key one wins")


def _latency(uri: str) -> Verdict:
    write, read = latency_ms(store_for(uri), uri)
    finding = f"median of 5: write {write:.1f} ms, read {read:.1f} ms"
    if max(write, read) > SLOW_MS:
        return warn(finding, "put workers and storage into one region, or raise workers.publishers.count")
    return ok(finding)
