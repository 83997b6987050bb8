"""Weights are fetched once per machine, however many workers ask at once."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from dreamcache.storage.models.adapter import local_adapter
from dreamcache.storage.node_cache import once_per_node
from dreamcache.storage.open_store import join, store_for


def _ask(folder: str, counts: str) -> None:
    def fetch() -> str:
        with Path(counts).open("a") as file:
            file.write("fetched\n")
        time.sleep(0.3)
        return folder

    assert once_per_node("weights@1", fetch) == folder


def test_many_processes_and_one_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_ask, args=(str(tmp_path), str(tmp_path / "counts"))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert (tmp_path / "counts").read_text() == "fetched\n"


def test_a_folder_that_was_cleaned_away_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    once_per_node("x", lambda: str(tmp_path / "gone"))
    assert once_per_node("x", lambda: str(tmp_path)) == str(tmp_path)


def test_an_adapter_of_other_content_under_the_same_uri_is_fetched(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store, uri = store_for(bucket), join(bucket, "adapter")
    for config in (b"{}", b'{"step": 1}'):
        store.write(join(uri, "config.json"), config)
        store.write(join(uri, "adapter.safetensors"), b"weights")
        assert (local_adapter(uri) / "config.json").read_bytes() == config
        assert local_adapter(uri) == local_adapter(uri)
