"""A proxy before the GCS server that alters what passes: drops preconditions, loses answers; on loopback.

with gs_proxy(server, deaf=True) as variables: ...        generation preconditions do not arrive
with gs_proxy(server, lose=lambda method, path: ...)      an answer is not sent on, the request is carried out
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = _without_preconditions(self.path) if deaf else self.path
            target = http.client.HTTPConnection(server.host, timeout=30)
            passed = {
                name: value for name, value in self.headers.items() if name.lower() not in NOT_FORWARDED
            }
            target.request(self.command, path, body=body, headers=passed)
            answer = target.getresponse()
            data = answer.read()
            target.close()
            if lose(self.command, self.path):
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

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{proxy.server_port}"}
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def _without_preconditions(path: str) -> str:
    url = urlsplit(path)
    query = [(name, value) for name, value in parse_qsl(url.query) if name != "ifGenerationMatch"]
    return f"{url.path}?{urlencode(query)}"
