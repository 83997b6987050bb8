"""A real TLS server on loopback for photos at https:// addresses, with an authority of its own and ways to misbehave.

    with TlsServer({"/a.png": data}) as server:
        server.url("/a.png")      # https://127.0.0.1:PORT/a.png; the certificate also names localhost and shop.example
        server.ca                 # the PEM file of its authority

Other paths misbehave: see `Handler`. Knows HTTP and TLS only.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "shop.example", "www.shop.example", "cdn.example")
CHUNK = b"x" * 65_536
ANSWERS = {
    "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + CHUNK,
    "lying": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + CHUNK,  # states less than it sends
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc",
    "garbage": b"\x00\xff\x00 SSH-2.0-x\r\n\r\n",
    "many-headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
    "long-header": b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 200_000 + b"\r\n\r\n",
}


@cache
def gzip_bomb() -> bytes:
    """Some kilobytes that unpack to 400 MiB."""
    packed = zlib.compressobj(9, wbits=31)
    return (packed.compress(bytes(1 << 22)) + packed.flush()) * 100


class Handler(BaseHTTPRequestHandler):
    """The files of its server, and: /to?u=URL redirects, /status?n=503 answers so, and the paths of `_odd`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        self.server.asked[path] += 1
        try:
            if path in self.server.files:
                self._file(self.server.files[path])
            elif path == "/to":
                self._answer(302, {"Location": query["u"][0]})
            elif path == "/status":
                self._answer(int(query["n"][0]), {})
            elif path.startswith("/odd/"):
                self._odd(path.removeprefix("/odd/"))
            else:
                self._answer(404, {}, b"<html>none</html>")
        except (OSError, ssl.SSLError):
            self.close_connection = True  # the client has gone

    def do_POST(self) -> None:
        """Records the body; answers with the next of the server's `post_statuses`, and with 204 after them."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.posts.append((urlsplit(self.path).path, dict(self.headers.items()), body))
        statuses = self.server.post_statuses
        self._answer(statuses.pop(0) if statuses else 204, {"Location": "/elsewhere"})

    def _file(self, data: bytes) -> None:
        etag = f'"{zlib.crc32(data):08x}"'
        if self.headers.get("If-None-Match") == etag:
            self._answer(304, {"ETag": etag})
        else:
            self._answer(200, {"ETag": etag, "Content-Type": "image/png"}, data)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _odd(self, kind: str) -> None:
        self.close_connection = True
        raw = self.wfile.write
        if kind == "endless":
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                raw(b"10000\r\n" + CHUNK + b"\r\n")
        elif kind == "endless-close":
            raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while True:
                raw(CHUNK)
        elif kind in ANSWERS:
            raw(ANSWERS[kind])
        elif kind == "negative":
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n")
            while True:
                raw(CHUNK)
        elif kind == "endless-chunk-line":
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                raw(b"0" * 65_536)
        elif kind == "trickle":
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
            self._slowly(b"x" * 5000)
        elif kind == "trickle-headers":
            raw(b"HTTP/1.1 200 OK\r\n")
            self._slowly(b"X-A: b\r\n" * 5000)
        elif kind == "continue":
            while True:
                raw(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.01)
        elif kind == "silent":
            time.sleep(30)
        elif kind == "gzip-bomb":
            self._answer(200, {"Content-Encoding": "gzip"}, gzip_bomb())
        elif kind == "no-location":
            self._answer(302, {})
        elif kind == "loop":
            self._answer(302, {"Location": "/odd/loop"})

    def _slowly(self, data: bytes) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests' output is their own."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    files: Mapping[str, bytes]
    asked: Counter[str]
    posts: list[tuple[str, dict[str, str], bytes]]
    post_statuses: list[int]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that the client ends is what some tests are about."""


class TlsServer:
    """files: bodies by path. names: of the certificate. days: that it is still valid."""

    def __init__(
        self, files: Mapping[str, bytes] | None = None, *, names: tuple[str, ...] = NAMES, days: int = 30,
        plain: bool = False,
    ) -> None:  # fmt: skip
        self._folder = tempfile.TemporaryDirectory(prefix="dc-tls-")
        folder = Path(self._folder.name)
        self.ca = str(folder / "ca.pem")
        _write_certificates(folder, names, days)
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.files, self._server.asked = files or {}, Counter()
        self._server.posts, self._server.post_statuses = [], []
        if not plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
            # The handshake is made by the thread of the connection, not by the one that accepts.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def asked(self) -> Counter[str]:
        """How often each path was asked for."""
        return self._server.asked

    @property
    def posts(self) -> list[tuple[str, dict[str, str], bytes]]:
        """(path, headers, body) of each POST."""
        return self._server.posts

    def answer_posts(self, *statuses: int) -> None:
        """With these, one after the other."""
        self._server.post_statuses = list(statuses)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()


def _write_certificates(folder: Path, names: tuple[str, ...], days: int) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dreamcache test authority")])

    def signed(subject: x509.Name, public: Any, extensions: list[tuple[Any, bool]]) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ski = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    ca = [(x509.BasicConstraints(ca=True, path_length=0), True), (usage, True), (ski, False)]
    alternatives = [x509.DNSName(name) for name in names] + [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    ] * ("localhost" in names)
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    leaf = [(x509.SubjectAlternativeName(alternatives), False), (aki, False)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    (folder / "ca.pem").write_bytes(signed(issuer, authority.public_key(), ca))
    (folder / "leaf.pem").write_bytes(signed(subject, key.public_key(), leaf))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "leaf.key").write_bytes(private)
