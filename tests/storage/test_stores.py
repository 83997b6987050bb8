"""What every store must do, on a local folder and on a real S3 server."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.store import relative_to

WRITERS = 12


def test_write_read_stat_delete(place: str) -> None:
    store, uri = store_for(place), join(place, "a", "b.bin")
    assert store.stat(uri) is None
    with pytest.raises(FileNotFoundError):
        store.read(uri)
    store.write(uri, b"one")
    store.write(uri, b"second")
    info = store.stat(uri)
    assert store.read(uri) == b"second"
    assert info is not None
    assert info.num_bytes == 6
    assert info.uri == uri
    assert abs((datetime.now(UTC) - info.modified).total_seconds()) < 60
    store.delete(uri)
    store.delete(uri)
    assert store.stat(uri) is None


def test_create_is_once(place: str) -> None:
    store, uri = store_for(place), join(place, "x")
    assert store.create(uri, b"first")
    before = store.stat(uri)
    assert not store.create(uri, b"second")
    assert not store.create(uri, b"first")
    assert store.read(uri) == b"first"
    assert store.stat(uri) == before


def test_create_raced_has_one_winner(place: str) -> None:
    store = store_for(place)
    for round_ in range(2):
        uri, start = join(place, f"raced-{round_}"), Barrier(WRITERS)

        def write(n: int, uri: str = uri, start: Barrier = start) -> bool:
            start.wait()
            return store.create(uri, b"%d" % n)

        with ThreadPoolExecutor(WRITERS) as pool:
            won = list(pool.map(write, range(WRITERS)))
        assert won.count(True) == 1
        assert store.read(uri) == b"%d" % won.index(True)


def test_replace_compares_and_swaps(place: str) -> None:
    store, uri = store_for(place), join(place, "lease")
    assert not store.replace(uri, b"?", "no-such-etag")
    assert store.replace(uri, b"a", None)
    assert not store.replace(uri, b"b", None)
    first = store.stat(uri)
    assert first is not None
    assert store.replace(uri, b"b", first.etag)
    assert not store.replace(uri, b"c", first.etag)
    assert store.read(uri) == b"b"


def test_replace_raced_counts_every_success(place: str) -> None:
    """A counter raised by compare and swap from several threads loses no step."""
    store, uri = store_for(place), join(place, "counter")
    store.write(uri, b"000")

    def raise_it(_: int) -> int:
        done = 0
        while done < 3:
            info = store.stat(uri)
            assert info is not None
            value = int(store.read(uri))
            done += store.replace(uri, b"%03d" % (value + 1), info.etag)
        return done

    with ThreadPoolExecutor(4) as pool:
        total = sum(pool.map(raise_it, range(4)))
    assert int(store.read(uri)) == total == 12


def test_list_is_recursive_and_of_this_folder_only(place: str) -> None:
    store = store_for(place)
    names = ["a.txt", "a/1", "a/2/deep", "a-b", "b"]
    for name in names:
        store.write(join(place, "job1", name), name.encode())
    store.write(join(place, "job10", "other"), b"")
    for prefix in (join(place, "job1"), join(place, "job1") + "/"):
        found = sorted(store.list(prefix), key=lambda info: info.uri)
        assert [relative_to(info.uri, prefix) for info in found] == sorted(names)
        assert [store.read(info.uri) for info in found] == [name.encode() for name in sorted(names)]
        stats = [store.stat(info.uri) for info in found]
        assert [s.etag for s in stats if s] == [info.etag for info in found]
    assert list(store.list(join(place, "absent"))) == []


def test_stores_are_picklable(place: str) -> None:
    store = pickle.loads(pickle.dumps(store_for(place)))
    store.write(join(place, "x"), b"x")
    assert store.read(join(place, "x")) == b"x"


def test_other_schemes_are_refused() -> None:
    with pytest.raises(StorageError, match=r"gcs://b/k: .*s3://.*got gcs://; use") as caught:
        store_for("gcs://b/k")
    assert caught.value.code == "bad_uri"


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("s3://b", "k"), "s3://b/k"),
        (("s3://b/", "/k/", "l"), "s3://b/k/l"),
        (("/", "a"), "/a"),
        (("", "a", "b"), "a/b"),
        (("~/x", ""), "~/x"),
    ],
)
def test_join(parts: tuple[str, ...], joined: str) -> None:
    assert join(*parts) == joined


def test_a_file_is_uploaded_whole(place: str, tmp_path: Path) -> None:
    data = os.urandom(9_000_000)  # more than one part of a multipart upload
    (tmp_path / "big").write_bytes(data)
    store, uri = store_for(place), join(place, "x.parquet")
    store.write(uri, b"old")
    store.upload(uri, tmp_path / "big")
    assert store.read(uri) == data
