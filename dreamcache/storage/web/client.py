"""A job's client for https:// photos: named hosts only, each hop checked, retries, and hosts that are down left alone.

    WebPhotos(hosts).fetch(uri, where, limit) -> WebPhoto(data, etag), or ImageError with its code

Errors are the photo's own, never the run's: a host that is down costs its photos, and the next run asks again.
Knows HTTP's meaning; what a connection is: `exchange`.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dreamcache.core.config.hosts import CatalogHost, host_of
from dreamcache.core.errors import DreamCacheError, ImageError
from dreamcache.core.web_url import WebUrl, parse_web, redirected
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.open_store import read_bounded
from dreamcache.storage.roots import check_host
from dreamcache.storage.web.addresses import Address, Resolve, refusal, resolve
from dreamcache.storage.web.down import DownHosts
from dreamcache.storage.web.exchange import CONNECT_S, Answer, ExchangeError, exchange

MAX_REDIRECTS = 5
MAX_ADDRESSES = 4
TRIES = 3
PAUSE_S = 0.5
MAX_CA_BYTES = 1 << 20
REDIRECTS = (301, 302, 303, 307, 308)
BUSY = (408, 425, 429, 500, 502, 503, 504)
UNREACHABLE = ("host_unreachable", "too_slow")
HEADERS = {
    # Fixed, so that a server that chooses a format by them sends a worker the bytes that were planned.
    "Accept": "image/png,image/jpeg,image/webp;q=0.9,*/*;q=0.5",
    "Accept-Encoding": "identity",
    "User-Agent": "dreamcache",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WebPhoto:
    """data: the body; None where the server states that it is still the one of `etag`."""

    data: bytes | None
    etag: str | None


class WebPhotos:
    """The photos of one job's hosts. Threads may share it; it holds no connection between calls."""

    def __init__(self, hosts: Sequence[CatalogHost], resolve: Resolve = resolve) -> None:
        self.hosts = tuple(hosts)
        self._resolve = resolve
        self._down = DownHosts()

    def fetch(self, uri: str, where: str, limit: int, *, etag: str | None = None) -> WebPhoto:
        """The bytes at an https:// address, at most `limit`. where: names the photo in messages.

        etag: of the bytes that the caller has, sent as If-None-Match. Raises ImageError with the codes bad_image_uri,
        host_not_allowed, address_not_allowed, bad_redirect, bad_certificate, host_unreachable, too_slow, too_large,
        bad_response, missing_image, access_denied.
        """
        try:
            url = parse_web(uri)
        except ValueError as error:
            raise ImageError(f"{where}: {error}; correct the address", code="bad_image_uri") from error
        host = self._host(url, where)
        try:
            self._down.check(url.site)
            photo = self._fetch(url, host, where, limit, etag)
        except ExchangeError as error:
            if error.code in UNREACHABLE:
                self._down.failed(url.site, str(error))
            else:
                self._down.answered(url.site)
            raise ImageError(f"{where}: {error}", code=error.code) from error
        except TooLarge as error:
            raise ImageError(f"{where}: {error} (limits.max_bytes)", code=error.code) from error
        self._down.answered(url.site)
        return photo

    def _host(self, url: WebUrl, where: str) -> CatalogHost:
        check_host(str(url), self.hosts, where)
        host = host_of(url.site, self.hosts)
        assert host is not None  # as `check_host` has stated
        return host

    def _fetch(self, url: WebUrl, host: CatalogHost, where: str, limit: int, etag: str | None) -> WebPhoto:
        deadline = time.monotonic() + host.timeout_s
        for hop in range(MAX_REDIRECTS + 1):
            answer = self._answer(url, host, limit, etag, deadline)
            if answer.status not in REDIRECTS:
                return _photo_of(answer, etag)
            url = _next(url, answer)
            host = self._host(url, f"{where}: redirect {hop + 1}")
        raise ExchangeError(
            f"must arrive within {MAX_REDIRECTS} redirects, got more; name the photo's last address",
            code="bad_redirect",
        )

    def _answer(
        self, url: WebUrl, host: CatalogHost, limit: int, etag: str | None, deadline: float
    ) -> Answer:
        """Of a host that answers: passing errors are tried again, after pauses, until the deadline."""
        headers = HEADERS if etag is None else {**HEADERS, "If-None-Match": etag}
        for attempt in range(1, TRIES + 1):
            pause = PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            try:
                answer = self._ask(url, host, limit, headers, deadline)
                if answer.status not in BUSY:
                    return answer
                pause = max(pause, _retry_after(answer))
                failure = ExchangeError(f"must answer, got status {answer.status}", code="host_unreachable")
            except ExchangeError as error:
                if not error.retry:
                    raise
                failure = error
            if attempt == TRIES or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        raise ExchangeError(
            f"host '{url.site}' {failure} in {attempt} tries; the same command tries again",
            code=failure.code,
        ) from failure

    def _ask(
        self, url: WebUrl, host: CatalogHost, limit: int, headers: dict[str, str], deadline: float
    ) -> Answer:
        return ask_any(url, host, headers, deadline, limit, resolve=self._resolve)


def ask_any(
    url: WebUrl,
    host: CatalogHost,
    headers: Mapping[str, str],
    deadline: float,
    limit: int,
    *,
    body: bytes | None = None,
    resolve: Resolve = resolve,
) -> Answer:
    """The answer of the host's first address that answers. Raises ExchangeError, TooLarge.

    An address that does not answer leaves time for those behind it. A POST may so arrive twice.
    """
    addresses = addresses_of(url, host, deadline, resolve)
    context = context_of(host.ca)
    for number, address in enumerate(addresses, 1):
        others = len(addresses) - number
        share = min(CONNECT_S, max(0.1, (deadline - time.monotonic()) / (others + 1)))
        try:
            return exchange(url, address, context, headers, deadline, limit, body=body, connect_s=share)
        except ExchangeError as error:
            if not (error.retry and others):
                raise
    raise AssertionError("a host without an address is refused before")


def addresses_of(
    url: WebUrl, host: CatalogHost, deadline: float, resolve: Resolve = resolve
) -> list[Address]:
    """All of the host's, each checked: which of them is asked must not depend on their order. Raises ExchangeError."""
    try:
        addresses = resolve(url.host, url.port, max(0.1, deadline - time.monotonic()))
    except OSError as error:
        raise ExchangeError(
            f"must have an address, got {error}; check its name", code="host_unreachable", retry=True
        ) from error
    for address in addresses:
        if problem := refusal(address, host.private):
            raise ExchangeError(
                f"host '{url.site}' must lie at an address that may be asked, got {problem}; if it is yours and "
                "private, add its network to 'networks' of the host's entry",
                code="address_not_allowed",
            )
    if not addresses:
        raise ExchangeError("must have an address, got none", code="host_unreachable", retry=True)
    return addresses[:MAX_ADDRESSES]


@lru_cache(maxsize=16)
def web_photos(hosts: tuple[CatalogHost, ...]) -> WebPhotos:
    """The client for these hosts in this process."""
    return WebPhotos(hosts)


@lru_cache(maxsize=16)
def context_of(ca: str | None) -> ssl.SSLContext:
    """Verifies names and chains, TLS 1.2 at least. ca: see CatalogHost."""
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=read_bounded(ca, MAX_CA_BYTES).decode("ascii"))
    except (DreamCacheError, OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ExchangeError(
            f"catalog_hosts: ca '{ca}': must be a file of certificates in PEM, got {type(error).__name__}: "
            f"{str(error)[:200]}; correct the path",
            code="bad_certificate",
        ) from error


def _photo_of(answer: Answer, etag: str | None) -> WebPhoto:
    got = answer.headers.get("etag")
    if answer.status == 200:
        return WebPhoto(data=answer.body, etag=got)
    if answer.status == 304 and etag is not None:
        return WebPhoto(data=None, etag=got or etag)
    if answer.status in (404, 410):
        raise ExchangeError(
            f"must be an existing photo, got status {answer.status}; check the address", code="missing_image"
        )
    if answer.status in (401, 403):
        raise ExchangeError(
            f"must be readable without a login, got status {answer.status}; use an address that is",
            code="access_denied",
        )
    raise ExchangeError(f"must be answered with 200, got status {answer.status}", code="bad_response")


def _next(url: WebUrl, answer: Answer) -> WebUrl:
    location = answer.headers.get("location", "")
    try:
        if not location:
            raise ValueError("must name where it leads, got none")
        return redirected(url, location)
    except ValueError as error:
        raise ExchangeError(
            f"redirect to {ascii(location)[:200]}: {error}; name the photo's last address",
            code="bad_redirect",
        ) from error


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
