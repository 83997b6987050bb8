"""A proxy before the GCS server that alters what passes: drops preconditions, loses answers; on loopback.

with gs_proxy(server, deaf=True) as variables: ...        generation preconditions do not arrive
with gs_proxy(server, lose=lambda method, path: ...)      an answer is not sent on, the request is carried out
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.cloud_servers import GcsServer

NOT_FORWARDED = ("host", "connection", "content-length", "transfer-encoding", "date", "server")


def keep_all(method: str, path: str) -> bool:
    """No answer is lost."""
    return False


@contextmanager
def gs_proxy(
    server: GcsServer, *, deaf: bool = False, lose: Callable[[str, str], bool] = keep_all
) -> Iterator[dict[str, str]]:
    """Yields the variables that lead a client through the proxy."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, server.host, deaf, lose))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{proxy.server_port}"}
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, host: str, deaf: bool, lose: Callable[[str, str], bool], *args: Any) -> None:
        self._host, self._deaf, self._lose = host, deaf, lose
        super().__init__(*args)  # which answers the requests of one connection

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = _without_preconditions(self.path) if self._deaf else self.path
        target = http.client.HTTPConnection(self._host, timeout=30)
        passed = {name: value for name, value in self.headers.items() if name.lower() not in NOT_FORWARDED}
        target.request(self.command, path, body=body, headers=passed)
        answer = target.getresponse()
        data = answer.read()
        target.close()
        if self._lose(self.command, self.path):
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in NOT_FORWARDED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_DELETE = do_POST = _forward  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


def _without_preconditions(path: str) -> str:
    url = urlsplit(path)
    query = [(name, value) for name, value in parse_qsl(url.query) if name != "ifGenerationMatch"]
    return f"{url.path}?{urlencode(query)}"
