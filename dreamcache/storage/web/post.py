"""A POST to a host that the settings name: addresses checked, TLS, no redirects, retries with backoff.

    post(url, host, body, headers, retry_s) -> status of an answer from 200 to 299, or ExchangeError

The body's receiver may meet it twice, when its answer was lost: `headers` hold the key by which it knows. Knows HTTP's
meaning; knows nothing of what is sent.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.web_url import WebUrl
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.web.addresses import Resolve, resolve
from dreamcache.storage.web.client import BUSY, addresses_of, context_of
from dreamcache.storage.web.exchange import Answer, ExchangeError, exchange

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
ANSWER_BYTES = 1 << 16


def post(
    url: WebUrl,
    host: CatalogHost,
    body: bytes,
    headers: Mapping[str, str],
    retry_s: float,
    *,
    on_try: Callable[[int], None] = lambda number: None,
    resolve: Resolve = resolve,
) -> int:
    """Sends until it is taken, for retry_s at most. on_try: called before each try, with its number from 1.

    Raises ExchangeError: `host_unreachable`, `too_slow`, `bad_response`, `address_not_allowed`, `bad_certificate`.
    """
    ends, pause, number = time.monotonic() + retry_s, FIRST_PAUSE_S, 0
    while True:
        number += 1
        on_try(number)
        try:
            answer = _once(url, host, body, headers, resolve)
            if 200 <= answer.status < 300:
                return answer.status
            failure = ExchangeError(
                f"must answer with a status from 200 to 299, got {answer.status}",
                code="bad_response",
                retry=answer.status in BUSY,
            )
        except TooLarge:
            return 200  # it was taken; nobody reads what it said
        except ExchangeError as error:
            failure = error
        wait = random.uniform(0.5, 1.0) * pause
        is_late = failure.code == "too_slow"
        if not (failure.retry or is_late) or time.monotonic() + wait >= ends:
            raise ExchangeError(
                f"host '{url.site}' {failure}, in {number} tries", code=failure.code
            ) from failure
        time.sleep(wait)
        pause = min(LONGEST_PAUSE_S, 2 * pause)


def _once(
    url: WebUrl, host: CatalogHost, body: bytes, headers: Mapping[str, str], resolve: Resolve
) -> Answer:
    deadline = time.monotonic() + host.timeout_s
    address = addresses_of(url, host, deadline, resolve)[0]
    return exchange(url, address, context_of(host.ca), headers, deadline, ANSWER_BYTES, body=body)
