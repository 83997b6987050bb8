"""What is GCS' own: answers that are lost, objects that change while they are read, pages, and servers that ignore
preconditions. The rest of the contract: `test_stores`."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import Any

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage import gs
from dreamcache.storage.arrow import pyarrow_filesystem
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.gs import GsStore
from dreamcache.storage.open_store import join, open_store, store_for
from dreamcache.storage.probe import check_conditional_writes, check_read_write, check_swap
from tests.cloud_servers import GcsServer
from tests.gs_proxy import gs_proxy
from tests.gs_server import leading_to


def test_a_server_that_ignores_preconditions_is_refused(gs_server: GcsServer, gs_bucket: str) -> None:
    with gs_proxy(gs_server, deaf=True) as variables, leading_to(variables):
        check_read_write(store_for(gs_bucket), gs_bucket)
        for check in (check_conditional_writes, check_swap):
            with pytest.raises(
                StorageError, match=r"must honour conditional writes \(ifGenerationMatch"
            ) as raised:
                check(store_for(gs_bucket), gs_bucket)
            assert raised.value.code == "no_conditional_writes" and "\n" not in str(raised.value)
        assert list(store_for(gs_bucket).list(gs_bucket)) == []


def test_a_commit_whose_answer_was_lost_is_this_calls(gs_server: GcsServer, gs_bucket: str) -> None:
    """gcsfs sends the request again and meets its own object; an object of another writer is none of ours."""
    store, numbers = GsStore(), count()
    uri = join(gs_bucket, "once")

    def first_post(method: str, path: str) -> bool:
        return method == "POST" and next(numbers) == 0

    with gs_proxy(gs_server, lose=first_post) as variables, leading_to(variables):
        assert store.create(uri, b"ours")
        assert next(numbers) > 1, "the request was sent again"
        assert not store.create(uri, b"second")
    assert store.read(uri) == b"ours"


@pytest.mark.slow
def test_a_swap_whose_answer_was_lost(gs_server: GcsServer, gs_bucket: str) -> None:
    store, numbers, uri = GsStore(), count(), join(gs_bucket, "lease")
    store.write(uri, b"1")
    info = store.stat(uri)
    assert info is not None

    def first_post(method: str, path: str) -> bool:
        return method == "POST" and next(numbers) == 0

    with gs_proxy(gs_server, lose=first_post) as variables, leading_to(variables):
        assert store.replace(uri, b"2", info.etag)
        assert not store.replace(uri, b"3", info.etag)
    assert store.read(uri) == b"2"


@pytest.mark.slow
def test_an_object_is_read_whole_while_it_is_replaced(gs_bucket: str) -> None:
    """Of each version: another size, one byte throughout."""
    store, uri = GsStore(), join(gs_bucket, "status.json")
    store.write(uri, b"0")
    stop = threading.Event()

    def replace() -> None:
        for number in count(1):
            if stop.is_set():
                return
            store.write(uri, b"%d" % (number % 10) * (1 + number * 97 % 5000))

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert len(set(store.read(uri))) == 1
    finally:
        stop.set()
        thread.join()


def test_of_an_object_that_grows_meanwhile_no_more_than_its_limit_is_received(
    gs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, uri = GsStore(), f"{gs_bucket}/grows"
    store.write(uri, b"1234")
    about, request, received = store._about, store._request, []

    def then_grow(*args: Any) -> Any:
        before = about(*args)
        store.write(uri, bytes(1000))
        return before

    def counted(*args: Any, **options: Any) -> Any:
        answer = request(*args, **options)
        received.extend([len(answer[1])] if options.get("json_out") is False else [])
        return answer

    monkeypatch.setattr(store, "_about", then_grow)
    monkeypatch.setattr(store, "_request", counted)
    with pytest.raises(TooLarge, match="at most 4 bytes are read, got more"):
        store.read(uri, limit=4)
    assert received == [5]


def test_a_listing_of_several_pages(gs_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gs, "PAGE_KEYS", 3)
    store = open_store(gs_bucket)
    names = [f"a/{number}" for number in range(7)]
    for name in names:
        store.write(name, b"x")
    assert [store.key_of(info.uri) for info in store.list()] == names


@pytest.mark.parametrize("etag", ["0", "-1", "x", "", "1.5", "9" * 30, "012"])
def test_an_etag_of_no_object_swaps_nothing(gs_bucket: str, etag: str) -> None:
    """0 would mean "if there is none"."""
    store = GsStore()
    assert not store.replace(join(gs_bucket, "absent"), b"x", etag)
    store.write(join(gs_bucket, "there"), b"1")
    assert not store.replace(join(gs_bucket, "there"), b"2", etag)
    assert store.stat(join(gs_bucket, "absent")) is None and store.read(join(gs_bucket, "there")) == b"1"


def test_a_bucket_that_is_not_there(gs_bucket: str) -> None:
    store, uri = GsStore(), "gs://no-such-bucket/x"
    for action in (
        lambda: store.create(uri, b"x"),
        lambda: store.replace(uri, b"x", "1"),
        lambda: store.write(uri, b"x"),
        lambda: store.stat(uri),
        lambda: store.read(uri),
        lambda: list(store.list(uri)),
    ):
        with pytest.raises(StorageError) as raised:
            action()
        assert raised.value.code == "no_such_bucket", action
    with pytest.raises(StorageError, match="got no bucket"):
        store.write("gs:///x", b"")


def test_a_packed_object_is_refused(gs_server: GcsServer, gs_bucket: str) -> None:
    """Its body would be unpacked on the way, to any size."""
    uri = join(gs_bucket, "bomb.png")
    GsStore().write(uri, b"x")
    system = gs.cloud.filesystem("gs://")
    system.setxattrs(uri, content_encoding="gzip")
    with pytest.raises(StorageError) as raised:
        GsStore().read(uri, 1000)
    assert raised.value.code == "encoded_object"


def test_content_types_are_stored(gs_bucket: str) -> None:
    for name, kind in (("index.html", "text/html; charset=utf-8"), ("a.png", "image/png")):
        GsStore().write(join(gs_bucket, name), b"x")
        assert gs.cloud.filesystem("gs://").info(join(gs_bucket, name))["contentType"] == kind


def test_arrow_reads_what_the_store_wrote(gs_bucket: str) -> None:
    store = open_store(gs_bucket)
    store.write("a/b.parquet", b"bytes")
    filesystem, path = pyarrow_filesystem(store.at("a/b.parquet"))
    with filesystem.open_input_file(path) as file:
        assert file.read() == b"bytes"
