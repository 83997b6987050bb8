"""Temporary folders: gone at the end, and what a killed process left is gone at the next start."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from dreamcache.storage.temporary import LOCK, YOUNG_S, temporary_folder

HOLDS = """
import sys
from dreamcache.storage.temporary import temporary_folder
with temporary_folder("test") as folder:
    (folder / "large").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, name: str, *, age: float = YOUNG_S + 1, lock: bool = True) -> Path:
    folder = place / name
    folder.mkdir()
    (folder / "large").write_bytes(b"x")
    if lock:
        (folder / LOCK).touch()
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_it_is_gone_at_the_end(place: Path) -> None:
    with temporary_folder("test") as folder, temporary_folder("test") as other:
        assert folder != other and folder.parent == place
        (folder / "file").write_bytes(b"x")
    assert not list(place.iterdir())


def test_what_is_abandoned_goes_and_all_else_stays(place: Path) -> None:
    gone = left(place, "dreamcache-test-abandoned")
    young = left(place, "dreamcache-test-young", age=0)
    without = left(place, "dreamcache-test-of-an-older-release", lock=False)
    other = left(place, "dreamcache-tests-other")
    (place / "dreamcache-test-link").symlink_to(other)
    held = left(place, "dreamcache-test-held")
    with (held / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with temporary_folder("test"):
            assert not gone.exists()
            assert all((one / "large").exists() for one in (young, without, other, held))
    with temporary_folder("test"):
        assert not held.exists()


def test_a_killed_process_leaves_nothing_for_ever(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    os.utime(folder, (time.time() - YOUNG_S - 1,) * 2)
    with temporary_folder("test"):
        assert (folder / "large").exists(), "its process lives"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with temporary_folder("test"):
        assert not folder.exists()
