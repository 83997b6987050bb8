"""What only S3 has to show: settings, errors with a code, content types, listings."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import join, store_for
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


@pytest.mark.parametrize("action", ["read", pytest.param("create", marks=pytest.mark.slow), "list"])
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


def test_objects_have_content_types(s3: S3Server, bucket: str) -> None:
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


def test_a_listing_of_many_pages_is_whole(bucket: str) -> None:
    store = store_for(bucket)
    names = [join(bucket, f"{number:04d}") for number in range(1100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda uri: store.write(uri, b"x"), names))
    assert sorted(info.uri for info in store.list(bucket)) == names
