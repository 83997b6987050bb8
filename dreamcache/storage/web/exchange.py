"""One request to one checked address over TLS, within a deadline that also ends an answer that trickles.

    exchange(url, address, context, headers, deadline, limit) -> Answer(status, headers, body of at most `limit` bytes)

The name of the certificate is the host's, the connection is the address'. Bodies are never unpacked. Knows HTTP; knows
nothing of hosts that may be asked, redirects and retries.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError

from dreamcache.core.web_url import WebUrl
from dreamcache.storage.bounded import TooLarge, read_stream, too_large
from dreamcache.storage.web.addresses import Address

CONNECT_S = 10.0
"""For the connection, and again for the handshake."""

SILENCE_S = 15.0
"""Without a byte of the answer."""

BODY_STATUS = 200


class ExchangeError(Exception):
    """An exchange that did not end in an answer. code: as in docs/errors.md; retry: whether another try may do."""

    def __init__(self, message: str, *, code: str, retry: bool = False) -> None:
        super().__init__(message)
        self.code, self.retry = code, retry


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """body: of an answer 200, as it was sent; empty for others, whose bodies are not read."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def exchange(
    url: WebUrl,
    address: Address,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    deadline: float,
    limit: int,
    *,
    body: bytes | None = None,
    connect_s: float = CONNECT_S,
) -> Answer:
    """GET, or POST of `body`. deadline: of `time.monotonic()`. Raises ExchangeError, TooLarge."""
    wait = min(connect_s, _remaining(deadline))
    connection = HTTPSConnection(
        str(address), url.port, timeout=wait, server_hostname=url.host, ssl_context=context
    )
    try:
        with _as_exchange_error(deadline):
            connection.connect()
        sock = connection.sock
        assert sock is not None
        with _shut_down_at(deadline, sock), _as_exchange_error(deadline):
            sock.settimeout(min(SILENCE_S, _remaining(deadline)))
            connection.request("GET" if body is None else "POST", url.target, body=body,
                               headers={"Host": url.site, **headers}, preload_content=False,
                               decode_content=False)  # fmt: skip
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.headers.items()}
            if response.status != BODY_STATUS:
                return Answer(status=response.status, headers=answered)
            _check_plain(answered)
            stated = answered.get("content-length", "")
            if stated.isascii() and stated.isdigit() and len(stated) < 20 and int(stated) > limit:
                raise too_large(str(url), limit, int(stated))
            body = read_stream(lambda count: response.read(count, decode_content=False), limit, str(url))
            return Answer(status=response.status, headers=answered, body=body)
    finally:
        connection.close()


def _check_plain(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ExchangeError(
            f"must be sent as it is, got Content-Encoding {ascii(encoding)[:60]}; have the server send images "
            "uncompressed",
            code="bad_response",
        )


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ExchangeError("must arrive within the host's timeout_s, did not", code="too_slow")
    return remaining


@contextmanager
def _shut_down_at(deadline: float, sock: socket.socket) -> Iterator[None]:
    """Within the block the connection ends at the deadline, whoever waits for it: a server that sends a byte now and
    then never meets a timeout of one read."""

    def shut_down() -> None:
        with suppress(OSError):
            # Not the method of SSLSocket, which takes the TLS away from a thread that reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(_remaining(deadline), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _as_exchange_error(deadline: float) -> Iterator[None]:
    """Whatever the libraries raise within the block becomes an ExchangeError with its code."""
    try:
        yield
        _remaining(deadline)  # a body that the deadline has cut may look like a whole one
    except (ExchangeError, TooLarge):
        raise
    except (OSError, HTTPError, http.client.HTTPException, ValueError) as error:
        _remaining(deadline)
        raise _explained(error) from error


def _explained(error: Exception) -> ExchangeError:
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], http.client.HTTPException):
        error = error.args[-1]
    text = f"{type(error).__name__}: {str(error)[:200]}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return ExchangeError(
            f"must show a certificate for this host that is trusted, got {error.verify_message}; correct the server, "
            "or name its certificate authority as 'ca' of the host's entry",
            code="bad_certificate",
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, TimeoutError | ssl.SSLEOFError):
        return ExchangeError(f"must speak TLS 1.2 or newer, got {text}", code="bad_certificate")
    malformed = http.client.BadStatusLine, http.client.LineTooLong, http.client.UnknownProtocol, ValueError
    if isinstance(error, malformed) and not isinstance(error, http.client.RemoteDisconnected):
        return ExchangeError(f"must answer in HTTP, got {text}", code="bad_response")
    if isinstance(error, http.client.HTTPException) and type(error) is http.client.HTTPException:
        return ExchangeError(f"must answer in HTTP, got {text}", code="bad_response")  # more than 100 headers
    if isinstance(error, http.client.IncompleteRead):
        return ExchangeError(
            f"must send as many bytes as it states, got {text}", code="bad_response", retry=True
        )
    return ExchangeError(f"must answer, got {text}", code="host_unreachable", retry=True)
