"""A proxy before the S3 server that does wrong to a share of the requests, of one kind at a time, by a seed.

    None       passes everything on
    slow_down  answers 503 SlowDown; the server hears nothing of it
    reset      resets the connection; the server hears nothing of it
    delay      lets the request wait first
    cut        sends half of the answer's body, or half of an upload to the server, and ends the connection
    silent     passes a PUT on, and keeps the answer to itself until the client gives up

Bytes and signatures pass unchanged. A server that is down shows as a connection that ends.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

from tests.s3_server import S3Server

KINDS = ("slow_down", "reset", "delay", "cut", "silent")
SHARE = 0.2
LONGEST_DELAY_S = 1.0
SILENCE_S = 30.0
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
)
NOT_PASSED = ("connection", "transfer-encoding", "content-length", "expect")


class FaultyProxy:
    """`kind`: the fault in force, None for none. `met`: how often each has struck. `requests`: all so far."""

    def __init__(self, server: S3Server, endpoint: str) -> None:
        self.server, self.endpoint = server, endpoint
        self.kind: str | None = None
        self.met: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self._random, self._lock = Random(0), threading.Lock()

    def environment(self) -> dict[str, str]:
        """The AWS_* variables of a program that is to come through here."""
        return {**self.server.environment(), "AWS_ENDPOINT_URL": self.endpoint}

    @contextmanager
    def faults(self, kind: str, seed: int) -> Iterator[None]:
        """Strikes within the block."""
        self.met.clear()
        self._random, self.kind = Random(seed), kind
        try:
            yield
        finally:
            self.kind = None

    def strike(self, method: str) -> str | None:
        """The fault that this request meets."""
        with self._lock:
            kind = self.kind
            if kind is None or (kind == "silent" and method != "PUT") or self._random.random() >= SHARE:
                return None
            self.met[kind] += 1
            return kind

    def delay(self) -> float:
        with self._lock:
            return self._random.uniform(0, LONGEST_DELAY_S)


class Handler(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.proxy.requests.append((self.command, self.path))
        kind = self.proxy.strike(self.command)
        if kind == "slow_down":
            self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            return
        if kind == "reset":
            self._reset()
            return
        if kind == "delay":
            time.sleep(self.proxy.delay())
        if kind == "cut" and body:
            with suppress(OSError):
                self._ask(body[: len(body) // 2], len(body))
            self._reset()
            return
        try:
            status, headers, data = self._ask(body, len(body))
        except (OSError, http.client.HTTPException):
            self._reset()
            return
        if kind == "silent":
            self._wait_for_the_client_to_leave()
            return
        self._answer(status, headers, data, part=0.5 if kind == "cut" else 1.0)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle  # noqa: N815

    def _ask(self, body: bytes, length: int) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer to this request; no answer is waited for if the body is not whole."""
        target = http.client.HTTPConnection(urlsplit(self.proxy.server.endpoint).netloc, timeout=60)
        try:
            target.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in NOT_PASSED:
                    target.putheader(name, value)
            if length or self.command in ("PUT", "POST"):
                target.putheader("Content-Length", str(length))
            target.endheaders(body)
            if len(body) < length:
                raise OSError("cut")
            answer = target.getresponse()
            kept = [
                (n, v) for n, v in answer.getheaders() if n.lower() not in (*NOT_PASSED, "date", "server")
            ]
            if self.command == "HEAD" and (size := answer.getheader("Content-Length")):
                kept.append(("Content-Length", size))
            return answer.status, kept, answer.read()
        finally:
            target.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, part: float = 1.0) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: int(len(data) * part)])
        if part < 1:
            self.close_connection = True

    def _reset(self) -> None:
        # With nothing to linger for, closing sends RST in place of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _wait_for_the_client_to_leave(self) -> None:
        self.connection.settimeout(SILENCE_S)
        with suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # reset by us, or gone
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that is killed leaves its connections as they are


@contextmanager
def faulty_proxy(server: S3Server) -> Iterator[FaultyProxy]:
    """Yields the proxy, which forwards everything until a fault is set."""
    handler = type("BoundHandler", (Handler,), {})
    listening = _Server(("127.0.0.1", 0), handler)
    proxy = handler.proxy = FaultyProxy(server, f"http://127.0.0.1:{listening.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
