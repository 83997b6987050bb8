"""A POST to a host that the settings name: addresses checked, TLS, no redirects, retries with backoff.

    post(url, host, body, headers, retry_s) -> status of an answer from 200 to 299, or ExchangeError

The body's receiver may meet it twice, when its answer was lost: `headers` hold the key by which it knows. Knows HTTP's
meaning; knows nothing of what is sent.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping

from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.web_url import WebUrl
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.web.addresses import Resolve, resolve
from dreamcache.storage.web.client import BUSY, ask_any
from dreamcache.storage.web.exchange import ExchangeError

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
    most_s: float = math.inf,
    on_try: Callable[[int], None] = lambda number: None,
    resolve: Resolve = resolve,
) -> int:
    """Sends until it is taken. No try begins after retry_s, each has the host's timeout_s, and all end within most_s.
    on_try: called before each try, with its number from 1.

    Raises ExchangeError: `host_unreachable`, `too_slow`, `bad_response`, `address_not_allowed`, `bad_certificate`.
    """
    began, pause, number = time.monotonic(), FIRST_PAUSE_S, 0
    ends = began + min(retry_s, most_s)
    while True:
        number += 1
        on_try(number)
        try:
            deadline = min(time.monotonic() + host.timeout_s, began + most_s)
            answer = ask_any(url, host, headers, deadline, ANSWER_BYTES, body=body, resolve=resolve)
            if 200 <= answer.status < 300:
                return answer.status
            failure = _refused(answer.status)
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


def _refused(status: int) -> ExchangeError:
    text = f"must answer with a status from 200 to 299, got {status}"
    return ExchangeError(text, code="bad_response", retry=status in BUSY)
