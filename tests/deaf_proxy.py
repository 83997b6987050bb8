"""A proxy before the S3 server that drops If-None-Match and If-Match: a store without conditional writes, on loopback.

It signs every request anew, because the dropped headers are under the client's signature.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

DROPPED = ("if-none-match", "if-match")
NOT_FORWARDED = (*DROPPED, "authorization", "host", "connection", "content-length", "expect", "amz-sdk-request",
                 "x-amz-date", "x-amz-content-sha256", "amz-sdk-invocation-id", "transfer-encoding")  # fmt: skip


@contextmanager
def deaf_proxy(server: S3Server) -> Iterator[str]:
    """Yields the proxy's endpoint; use it as AWS_ENDPOINT_URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in NOT_FORWARDED}
            request = AWSRequest(self.command, server.endpoint + self.path, data=body, headers=kept)
            S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
            target = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=30)
            target.request(self.command, self.path, body=body, headers=dict(request.headers.items()))
            answer = target.getresponse()
            data = answer.read()
            target.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (
                    "connection",
                    "transfer-encoding",
                    "content-length",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _forward  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
