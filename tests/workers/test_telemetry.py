"""What telemetry hears of the storage client's retries, on a real server."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import store_for
from tests.s3_server import S3Server
from workers.telemetry import Telemetry


class Recorded(Telemetry):
    """Keeps what would go to Ray."""

    def __init__(self, output: str) -> None:
        super().__init__(output, "publisher")
        self.recorded: list[tuple[str, float]] = []
        self._watch_storage()
        self._watch_storage()  # every publish task registers anew

    def _record(self, name: str, value: float, **tags: Any) -> None:
        self.recorded.append((name, value))


def test_requests_sent_again_are_counted_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with S3Server() as server, server.use():
        bucket = server.make_bucket("telemetry")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        telemetry = Recorded(f"{bucket}/job")
        store = store_for(bucket)
        assert store.create(f"{bucket}/job/a", b"1")
        assert not store.create(f"{bucket}/job/a", b"2")
        assert store.stat(f"{bucket}/job/none") is None
        assert telemetry.recorded == []
        server.kill()
        with pytest.raises(StorageError):
            store.read(f"{bucket}/job/a")
        assert telemetry.recorded
        assert {name for name, _ in telemetry.recorded} == {"dreamcache_storage_retries"}


def test_nothing_is_recorded_while_another_thread_imports_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is in sys.modules before its functions are in it."""
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    Telemetry("output", "driver").remaining(3)
