"""Whether something answers at a cluster's address, found out within a limit: before Ray, whose own tries take minutes.

    host:port of a head's GCS -> TCP connection -> first frame of HTTP/2, which every gRPC server sends

Knows sockets; imports no Ray.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from dreamcache.core.errors import DreamCacheError

REACH_SECONDS = 15.0
GCS_PORT = 6379
SETTINGS = 4
"""The type of HTTP/2's first frame, both ways."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
FRAME_HEADER = 9

T = TypeVar("T")


def check_gcs_answers(address: str, limit_s: float = REACH_SECONDS) -> None:
    """Raises DreamCacheError `no_cluster` unless a gRPC server answers at host:port within `limit_s`.

    Says nothing of tokens: who may do what, Ray decides. Raises `bad_address` for what is no host and port.
    """
    host, port = host_and_port(address)
    try:
        within(limit_s, lambda: _greet(host, port, limit_s), TimeoutError(f"no answer within {limit_s:g} s"))
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise DreamCacheError(
            f"address '{address[:200]}': no Ray cluster answers at {host}:{port}: {reason}; check address, port and "
            f"network, or start one with 'ray start --head'",
            code="no_cluster",
        ) from error


def host_and_port(address: str) -> tuple[str, int]:
    """("host", 6379) of "host:6379", "host" or "[::1]:6379". Raises DreamCacheError `bad_address`."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")):
        host, port = address.strip(), str(GCS_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or any(letter.isspace() or letter in "/@" for letter in host) or not port.isdecimal():
        raise DreamCacheError(
            f"address '{address[:200]}': must be host:port of the head's GCS, such as head:{GCS_PORT}",
            code="bad_address",
        )
    if not 0 < int(port) < 65536:
        raise DreamCacheError(
            f"address '{address[:200]}': the port must be from 1 to 65535", code="bad_address"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def within(limit_s: float, attempt: Callable[[], T], late: Exception) -> T:
    """The result of `attempt`, or what it raises; `late` where it takes longer, and it is left behind in its thread.

    For names that are not resolved and servers that answer byte by byte: no limit of a socket bounds these.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(attempt())
        except Exception as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)

    thread = Thread(target=run, name="reach", daemon=True)
    thread.start()
    thread.join(limit_s)
    if results:
        return results[0]
    raise errors[0] if errors else late


def _greet(host: str, port: int, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    with socket.create_connection((host, port), timeout=limit_s) as connection:
        connection.sendall(HELLO)
        answer = b""
        while len(answer) < FRAME_HEADER:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            part = connection.recv(FRAME_HEADER - len(answer))
            if not part:
                raise ConnectionError("what listens there is no GCS: it ended the connection")
            answer += part
    if answer[3] != SETTINGS:
        raise ConnectionError("what listens there is no GCS: it does not speak gRPC")
