"""A cluster's address is tried before Ray tries it for minutes, and a token goes only to a server that asks for one."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dreamcache.core.errors import DreamCacheError
from jobs.cluster import jobs_api
from jobs.cluster.jobs_api import ClusterError, connect
from jobs.cluster.ray_cluster import join_cluster
from jobs.cluster.reach import HELLO, check_gcs_answers, host_and_port, is_loopback, within

TOKEN = "secret-token"
LIMIT_S = 1.0


@contextmanager
def listening(answer: bytes | None = None, *, drip: bool = False) -> Iterator[str]:
    """A port on which a server accepts and answers with these bytes: None for no answer, b"" to hang up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if answer == b"":
                    connection.close()
                with suppress(OSError):  # the client has given up
                    for number in range(len(answer or b"")):
                        connection.sendall((answer or b"")[number : number + 1])
                        time.sleep(0.5 if drip else 0)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "drip", "reason"),
    [
        (None, False, "timed out|no answer within 1 s"),
        (b"", False, "no GCS|reset"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "does not speak gRPC"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", False, "does not speak gRPC"),
        (bytes(9), True, "timed out|no answer within 1 s"),
    ],
)
def test_what_is_no_gcs_is_named_within_the_limit(answer: bytes | None, drip: bool, reason: str) -> None:
    started = time.monotonic()
    with listening(answer, drip=drip) as address, pytest.raises(DreamCacheError, match=reason) as raised:
        check_gcs_answers(address, LIMIT_S)
    assert (raised.value.code, address in str(raised.value)) == ("no_cluster", True)
    assert time.monotonic() - started < LIMIT_S + 1


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:1", "no-such-host.invalid:6379", "no-such-host.invalid"]
)
def test_a_closed_port_and_an_unknown_host_end_a_run_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    started = time.monotonic()
    with pytest.raises(DreamCacheError, match="no Ray cluster answers at") as raised:
        join_cluster(address, cpus=1, gpus=0)
    assert raised.value.code == "no_cluster" and time.monotonic() - started < 15


def test_a_grpc_server_answers() -> None:
    with listening(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])) as address:
        check_gcs_answers(address, LIMIT_S)
    assert HELLO.startswith(b"PRI * HTTP/2.0")


def test_addresses_of_a_gcs() -> None:
    good = {
        "head:6379": ("head", 6379),
        "head": ("head", 6379),
        "[::1]:70": ("::1", 70),
        "::1": ("::1", 6379),
    }
    assert {address: host_and_port(address) for address in good} == good
    for wrong in ("", ":6379", "head:port", "head:0", "head:99999", "a b:1", "user@head:6379", "head:6379/x"):
        with pytest.raises(DreamCacheError) as raised:
            host_and_port(wrong)
        assert raised.value.code == "bad_address", wrong
    assert [is_loopback(host) for host in ("localhost", "127.8.0.1", "::1", "head", "10.0.0.1", "127.evil.com")] == [
        True, True, True, False, False, False
    ]  # fmt: skip


def test_what_takes_too_long_is_left_behind() -> None:
    with pytest.raises(TimeoutError, match="late"):
        within(0.05, lambda: time.sleep(1), TimeoutError("late"))
    assert within(5, lambda: 7, TimeoutError()) == 7


class Dashboard(ThreadingHTTPServer):
    """Answers as a head does, and remembers what each request sent. asks: 401 or 403 without a token; 0 for open."""

    def __init__(self, asks: int) -> None:
        self.asks = asks
        self.sent: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization") or ""
        self.server.sent.append(sent)
        refused = self.server.asks and sent != f"Bearer {TOKEN}"
        self.send_response(self.server.asks if refused else 200)
        self.end_headers()
        self.wfile.write(b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}')

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def dashboard(asks: int) -> Iterator[Dashboard]:
    with Dashboard(asks) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_settings_of_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("RAY_", "DREAMCACHE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN", "RAY_JOB_HEADERS"])
def test_a_server_that_asks_for_no_token_gets_none(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = TOKEN if variable == "RAY_AUTH_TOKEN" else f'{{"Authorization": "Bearer {TOKEN}"}}'
    monkeypatch.setenv(variable, value)
    with dashboard(asks=0) as server:
        assert connect(server.url).is_open
    assert server.sent and not any(server.sent)


@pytest.mark.parametrize("asks", [401, 403])
def test_a_server_that_asks_gets_the_token_at_the_second_request(
    asks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with dashboard(asks) as server:
        assert not connect(server.url).is_open
    assert server.sent[0] == "" and set(server.sent[1:]) == {f"Bearer {TOKEN}"}


def test_a_token_goes_over_plain_http_to_no_other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setattr(jobs_api, "is_loopback", lambda host: False)
    with dashboard(asks=401) as server:
        with pytest.raises(ClusterError, match="must not travel over plain http") as raised:
            connect(server.url)
        assert raised.value.code == "plain_http" and not any(server.sent)
        monkeypatch.setenv(jobs_api.PLAIN_HTTP, "head, 127.0.0.1")
        assert not connect(server.url).is_open


def test_a_server_that_accepts_and_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_api, "REACH_SECONDS", LIMIT_S)
    started = time.monotonic()
    with listening(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50, drip=True) as address:
        with pytest.raises(ClusterError, match="no Ray cluster answers there") as raised:
            connect(f"http://{address}")
    assert raised.value.code == "no_cluster" and time.monotonic() - started < LIMIT_S + 2


@pytest.mark.parametrize("headers", ["[1]", '{"X": 1}', "{", '{"a": ["b"]}'])
def test_headers_that_are_no_texts_are_refused(headers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_HEADERS", headers)
    with pytest.raises(DreamCacheError, match="RAY_JOB_HEADERS: must be a JSON object of headers"):
        connect("http://127.0.0.1:1")
