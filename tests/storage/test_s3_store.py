"""What only S3 has to show: settings, errors with a code, lost answers, a server that goes away."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dreamcache.errors import StorageError
from dreamcache.storage import s3_client
from dreamcache.storage.filesystem import join, store_for
from dreamcache.storage.store import Store
from tests.s3_server import S3Server

ACTIONS: dict[str, Callable[[Store, str], object]] = {
    "read": lambda store, uri: store.read(uri),
    "stat": lambda store, uri: store.stat(uri),
    "write": lambda store, uri: store.write(uri, b"x"),
    "create": lambda store, uri: store.create(uri, b"x"),
    "replace": lambda store, uri: store.replace(uri, b"x", "e"),
    "list": lambda store, uri: list(store.list(uri)),
    "delete": lambda store, uri: store.delete(uri),
}


def _fails(uri: str, action: str, code: str) -> str:
    with pytest.raises(StorageError) as caught:
        ACTIONS[action](store_for(uri), uri)
    text = str(caught.value)
    assert caught.value.code == code, text
    assert text.startswith(f"{uri}: cannot ")
    assert ", got '" in text
    assert "; " in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("action", ACTIONS)
def test_bucket_missing(s3: S3Server, action: str) -> None:
    assert "bucket 'no-such-bucket' must exist" in _fails("s3://no-such-bucket/k", action, "no_such_bucket")


@pytest.mark.parametrize("action", ACTIONS)
def test_no_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_ACCESS_KEY_ID" in _fails("s3://tests/k", action, "no_credentials")


def test_profile_missing(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in _fails("s3://tests/k", "read", "no_credentials")


@pytest.mark.parametrize("action", ACTIONS)
def test_wrong_key(bucket: str, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    _fails(join(bucket, "k"), action, "access_denied")


@pytest.mark.parametrize("action", ["read", "create", "list"])
def test_nobody_answers(s3: S3Server, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert "AWS_ENDPOINT_URL" in _fails("s3://tests/k", action, "storage_unreachable")


def test_endpoint_that_is_no_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    with pytest.raises(StorageError, match="correct AWS_ENDPOINT_URL"):
        store_for("s3://tests/k").read("s3://tests/k")


def test_a_uri_needs_a_bucket(s3: S3Server) -> None:
    with pytest.raises(StorageError, match="no bucket"):
        store_for("s3://").read("s3:///k")


def test_endpoint_of_s3_wins_and_profiles_are_honoured(
    s3: S3Server, bucket: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_for(bucket).write(join(bucket, "x"), b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    assert store_for(bucket).read(join(bucket, "x")) == b"x"

    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    config = os.path.join(str(tmp_path), "config")
    with open(config, "w") as file:
        file.write(
            f"[profile shop]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
            f"region = eu-north-1\nendpoint_url = {s3.endpoint}\n"
        )
    for name in [*list(s3.environment()), "AWS_ENDPOINT_URL_S3"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", config)
    monkeypatch.setenv("AWS_PROFILE", "shop")
    assert store_for(bucket).read(join(bucket, "x")) == b"x"


def test_browsers_are_told_what_things_are(s3: S3Server, bucket: str) -> None:
    name, key = join(bucket, "x").removeprefix("s3://").split("/", 1)
    for extension, kind in [("html", "text/html; charset=utf-8"), ("webp", "image/webp")]:
        uri = f"{join(bucket, 'x')}.{extension}"
        for write in (store_for(uri).create, store_for(uri).write):
            write(uri, b"x")
            assert s3.client().head_object(Bucket=name, Key=f"{key}.{extension}")["ContentType"] == kind


def test_a_forked_child_makes_its_own_client(bucket: str) -> None:
    store, uri = store_for(bucket), join(bucket, "x")
    store.write(uri, b"x")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(store.read, [uri] * 4) == [b"x"] * 4
    assert store.read(uri) == b"x"


def test_objects_survive_a_killed_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_patience_s", 60.0)  # on a busy machine it takes long to come back
    with S3Server() as server, server.use():  # its own: the session's server stays up
        uri = join(server.make_bucket("kept"), "x")
        store = store_for(uri)
        assert store.create(uri, b"kept")
        server.kill()
        back = threading.Timer(0.5, server.start)
        back.start()
        try:
            assert store.read(uri) == b"kept"  # asked again until the server is back
        finally:
            back.join()
        assert not store.create(uri, b"again")


def test_a_worker_waits_for_a_storage_that_did_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every operation, over an outage that a few quick retries would not outlast."""
    monkeypatch.setattr(s3_client, "_patience_s", 0.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with S3Server() as server, server.use():
        folder = server.make_bucket("outage")
        store = store_for(folder)
        store.write(join(folder, "x"), b"x")
        server.kill()
        began = time.monotonic()
        with pytest.raises(StorageError):
            store.read(join(folder, "x"))  # a driver that begins is told at once
        assert time.monotonic() - began < 5
        s3_client.be_patient(60)
        file = tmp_path / "file"
        file.write_bytes(b"large")
        back = threading.Timer(4, server.start)
        back.start()
        try:
            with ThreadPoolExecutor(5) as pool:
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
    monkeypatch.setattr(s3_client, "_patience_s", 0.0)
    monkeypatch.setattr(s3_client, "_answer_s", 60.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        s3_client.be_patient(0, answer_s=0.2)
        began = time.monotonic()
        with pytest.raises(StorageError, match="must answer"):
            store_for("s3://bucket").read("s3://bucket/x")
        assert time.monotonic() - began < 10


def test_a_listing_of_many_pages_is_whole(bucket: str) -> None:
    store = store_for(bucket)
    names = [join(bucket, f"{number:04d}") for number in range(1100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda uri: store.write(uri, b"x"), names))
    assert sorted(info.uri for info in store.list(bucket)) == names


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
