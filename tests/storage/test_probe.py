"""Trying a place out: real stores pass and keep no trace; one that drops conditions is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.probe import (
    check_conditional_writes,
    check_read_write,
    check_swap,
    is_probe,
    latency_ms,
)
from tests.deaf_proxy import deaf_proxy
from tests.s3_server import S3Server


def test_a_sound_place_passes_and_is_left_as_it_was(place: str) -> None:
    store = store_for(place)
    store.write(join(place, "mine"), b"x")
    check_read_write(store, place)
    check_conditional_writes(store, place)
    check_swap(store, place)
    assert all(value > 0 for value in latency_ms(store, place, times=3))
    assert [info.uri for info in store.list(place)] == [join(place, "mine")]
    if "://" not in place:
        assert [path.name for path in Path(place).iterdir()] == ["mine"]


def test_a_folder_that_was_not_there_is_not_there_afterwards(tmp_path: Path) -> None:
    place = str(tmp_path / "a" / "b")
    check_conditional_writes(store_for(place), place)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_drops_conditions_is_found_out(
    bucket: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deaf_proxy(s3) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        check_read_write(store_for(bucket), bucket)
        for check in (check_conditional_writes, check_swap):
            with pytest.raises(StorageError, match="must honour conditional writes") as caught:
                check(store_for(bucket), bucket)
            assert caught.value.code == "no_conditional_writes"
        assert list(store_for(bucket).list(bucket)) == []


def test_an_unusable_place_says_so_in_its_own_words(s3: S3Server) -> None:
    with pytest.raises(StorageError) as caught:
        check_conditional_writes(store_for("s3://no-such-bucket/x"), "s3://no-such-bucket/x")
    assert caught.value.code == "no_such_bucket"


def test_names_of_probes() -> None:
    assert is_probe(".probe-12ab/once")
    assert not is_probe("images/.probe-1")
