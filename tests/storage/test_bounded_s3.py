"""The bounded reader over S3: a real server, and one whose declared sizes are wrong."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError, StorageError
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.open_store import read_bounded, store_for
from dreamcache.storage.photos import read_photo

MB = 1 << 20


def test_an_object_is_read_up_to_its_limit(bucket: str) -> None:
    uri = f"{bucket}/photo"
    store_for(uri).write(uri, b"x" * (3 * MB))
    assert len(read_bounded(uri, 3 * MB)) == 3 * MB
    with pytest.raises(TooLarge, match="at most 3,145,727 bytes are read, got 3,145,728") as caught:
        read_bounded(uri, 3 * MB - 1)
    assert not isinstance(caught.value, StorageError)
    with pytest.raises(FileNotFoundError):
        read_bounded(f"{bucket}/absent", MB)


def test_a_photo_over_the_limit_costs_itself(bucket: str) -> None:
    uri = f"{bucket}/video.mov"
    store_for(uri).write(uri, bytes(2 * MB))
    with pytest.raises(ImageError, match=r"limits\.max_bytes") as caught:
        read_photo(uri, "row 7", ImageLimits(max_bytes=MB))
    assert caught.value.code == "too_large"


class Lying(BaseHTTPRequestHandler):
    """Bodies without end, whatever their headers state."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def do_GET(self) -> None:
        self.send_response(200)
        if "chunked" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
        elif "short" not in self.path:
            self.send_header("Content-Length", str(1 << 40))
        self.send_header("ETag", '"a"')
        if "gzip" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        block = bytes(MB)
        if "chunked" in self.path:
            block = b"%x\r\n" % MB + block + b"\r\n"
        try:
            while True:
                self.wfile.write(block)
                Lying.sent += MB
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        return


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        return


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Iterator[socketserver.BaseServer]:
    server = Quiet(("127.0.0.1", 0), Lying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    Lying.sent = 0
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("key", ["chunked", "short", "declared", "short-gzip"])
def test_a_body_without_end_costs_little_more_than_its_limit(
    lying: socketserver.BaseServer, key: str
) -> None:
    with pytest.raises(TooLarge):
        read_bounded(f"s3://shop/{key}", 4 * MB)
    assert Lying.sent < 64 * MB, "what the sockets hold, and no more"
