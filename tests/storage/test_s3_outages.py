"""What S3 does when it is ill: answers lost, refused or cut, a server that goes away and comes back."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.retry_budget import ANSWER_S, retry_budget, retrying
from tests.s3_server import S3Server


def test_objects_survive_a_killed_server() -> None:
    with S3Server() as server, server.use():  # its own: the session's server stays up
        uri = join(server.make_bucket("kept"), "x")
        store = store_for(uri)
        assert store.create(uri, b"kept")
        server.kill()
        back = threading.Timer(0.5, server.start)
        back.start()
        try:
            with retrying(60):  # on a busy machine it takes long to come back
                assert store.read(uri) == b"kept"
        finally:
            back.join()
        assert not store.create(uri, b"again")


def test_a_worker_waits_for_a_storage_that_did_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every operation, over an outage that a few quick retries would not outlast."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with S3Server() as server, server.use():
        folder = server.make_bucket("outage")
        store = store_for(folder)
        store.write(join(folder, "x"), b"x")
        server.kill()
        began = time.monotonic()
        with pytest.raises(StorageError):
            store.read(join(folder, "x"))  # a driver that begins fails at once
        assert time.monotonic() - began < 5
        file = tmp_path / "file"
        file.write_bytes(b"large")
        back = threading.Timer(4, server.start)
        back.start()
        try:
            with retrying(60), ThreadPoolExecutor(5) as pool:
                read = pool.submit(store.read, join(folder, "x"))
                created = pool.submit(store.create, join(folder, "new"), b"new")
                listed = pool.submit(lambda: [info.uri for info in store.list(folder)])
                found = pool.submit(store.stat, join(folder, "x"))
                pool.submit(store.upload, join(folder, "file"), file).result()
                assert read.result() == b"x" and created.result() and found.result() is not None
                assert join(folder, "x") in listed.result()
            assert store.read(join(folder, "file")) == b"large"
        finally:
            back.join()


def test_an_answer_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        began = time.monotonic()
        with retrying(0, answer_s=0.2), pytest.raises(StorageError, match="must answer"):
            store_for("s3://bucket").read("s3://bucket/x")
        assert time.monotonic() - began < 10
        assert retry_budget() == (0, ANSWER_S)


@pytest.mark.parametrize("attempts", ["1", "4"], ids=["our retry", "botocore's retry"])
def test_answer_lost_after_the_object_was_stored(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, attempts: str
) -> None:
    """The PUT arrives, its answer does not: the caller still learns that the object is its own."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    with _LossyProxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        store, uri = store_for(bucket), join(bucket, "x")
        proxy.lose = 1
        assert store.create(uri, b"mine")
        assert proxy.lost == 1
        first = store.stat(uri)
        assert first is not None
        proxy.lose = 1
        assert not store.create(uri, b"mine"), "the same bytes, but another call's object"
        proxy.lose = 1
        assert store.replace(uri, b"mine too", first.etag)
        proxy.lose = 1
        assert not store.replace(uri, b"late", first.etag)
        assert store.read(uri) == b"mine too"


def test_a_conflict_is_tried_again(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """409: another conditional write of this key was under way, and who won is not known yet."""
    with _LossyProxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        store, uri = store_for(bucket), join(bucket, "x")
        proxy.conflicts = 2
        assert store.create(uri, b"mine")
        assert proxy.lost == 2
        proxy.conflicts = 1
        assert not store.create(uri, b"late"), "the other one won"
        found = store.stat(uri)
        assert found is not None
        proxy.conflicts = 1
        assert store.replace(uri, b"mine too", found.etag)
        proxy.conflicts = 1_000
        monkeypatch.setattr("dreamcache.storage.s3.COMMIT_ATTEMPTS", 2)
        with pytest.raises(StorageError, match="ConditionalRequestConflict"):
            store.create(join(bucket, "y"), b"never")


def test_read_of_a_body_cut_short_is_repeated(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(300_000)
    store_for(bucket).write(join(bucket, "big"), data)
    with _LossyProxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.cut = 1
        assert store_for(bucket).read(join(bucket, "big")) == data
        assert proxy.lost == 1


CONFLICT_BODY = b"<Error><Code>ConditionalRequestConflict</Code><Message>try again</Message></Error>"
CONFLICT = (
    b"HTTP/1.1 409 Conflict\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(CONFLICT_BODY), CONFLICT_BODY)
)


class _LossyProxy:
    """A TCP relay that drops the connection at the answer of the next `lose` PUTs, or within `cut` bodies, or
    answers the next PUTs itself: `conflicts` times 409."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lose = self.cut = self.conflicts = self.lost = 0

    def __enter__(self) -> _LossyProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            outer = socket.create_connection(self._target)
            threading.Thread(target=self._requests, args=(inner, outer), daemon=True).start()
            threading.Thread(target=self._answers, args=(outer, inner), daemon=True).start()

    def _requests(self, inner: socket.socket, outer: socket.socket) -> None:
        try:
            while data := inner.recv(65536):
                if self.conflicts and data.startswith(b"PUT"):
                    self.conflicts -= 1
                    self.lost += 1
                    inner.sendall(CONFLICT)
                    return
                if data.startswith((b"PUT", b"GET", b"HEAD")):
                    self._method = data[:4]
                outer.sendall(data)
        except OSError:
            pass
        finally:
            outer.close()

    def _answers(self, outer: socket.socket, inner: socket.socket) -> None:
        sent = 0
        try:
            while data := outer.recv(65536):
                final = data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100")
                if self.lose and self._method == b"PUT " and final:
                    self.lose -= 1
                    self.lost += 1
                    return
                sent += len(data)
                if self.cut and sent > 100_000:
                    self.cut -= 1
                    self.lost += 1
                    return
                inner.sendall(data)
        except OSError:
            pass
        finally:
            inner.shutdown(socket.SHUT_RDWR)
            inner.close()
