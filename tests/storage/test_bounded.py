"""The one reader of foreign bytes: limits, kinds of files, and declared sizes that are not believed."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.bounded import NotRegular, TooLarge, read_regular, read_stream
from dreamcache.storage.open_store import read_bounded

MB = 1 << 20


@pytest.fixture(autouse=True)
def quick() -> object:
    """Nothing here may wait for an end that never comes."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 5


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "photo"
    file.write_bytes(b"x" * 100)
    assert read_bounded(str(file), 100) == b"x" * 100
    assert read_bounded(file.as_uri(), 100) == b"x" * 100
    with pytest.raises(TooLarge, match="at most 99 bytes are read, got 100") as caught:
        read_bounded(str(file), 99)
    assert caught.value.code == "too_large"
    assert not isinstance(caught.value, StorageError), "it would end the whole run"


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert read_bounded(str(tmp_path / "empty"), 0) == b""


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/random", "/dev/null", "/dev/tty"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(NotRegular, match="regular file"):
        read_bounded(device, MB)


def test_a_pipe_and_a_socket_are_refused_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # the address of a socket has 108 characters at most
        listening.bind("socket")
        for name in ("pipe", "link", "socket"):
            with pytest.raises(NotRegular):
                read_bounded(str(tmp_path / name), MB)


def test_a_pipe_that_takes_the_place_of_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular = tmp_path / "regular"
    regular.write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    looked = os.stat(regular)
    monkeypatch.setattr("dreamcache.storage.bounded.os.stat", lambda path: looked)
    with pytest.raises(NotRegular):
        read_regular(tmp_path / "pipe", MB, "pipe")


def test_a_file_of_the_kernel_that_states_no_size_is_refused() -> None:
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(NotRegular, match="0 bytes that has content"):
        read_bounded("/proc/self/maps", MB)


def test_a_sparse_file_costs_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(6 << 30)
    with pytest.raises(TooLarge):
        read_bounded(str(tmp_path / "sparse"), MB)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="got a folder"):
        read_bounded(str(tmp_path), MB)
    with pytest.raises(StorageError):
        read_bounded(str(tmp_path), MB)


@pytest.mark.parametrize("name", ["absent", "absent/below", "a\0b", "half a pair \ud800"])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_bounded(f"{tmp_path}/{name}", MB)


@pytest.mark.parametrize("content", [b"", b"x", b"x" * (3 * MB + 1)])
def test_a_stream_is_read_to_its_end(content: bytes) -> None:
    chunks = iter([content[n : n + MB] for n in range(0, len(content), MB)] + [b""])
    assert read_stream(lambda _: next(chunks), len(content), "stream") == content


def test_a_stream_without_end_costs_its_limit() -> None:
    requested = []

    def endless(count: int) -> bytes:
        requested.append(count)
        return bytes(count)

    with pytest.raises(TooLarge, match="got more"):
        read_stream(endless, 2 * MB, "stream")
    assert sum(requested) == 2 * MB + 1
