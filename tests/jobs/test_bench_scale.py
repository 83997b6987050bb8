"""`dreamcache bench scale` at a small size: it measures every step, and half of the items are left to do."""

from __future__ import annotations

import json

import pytest

from tests.command import dreamcache


@pytest.mark.slow
def test_bench_scale_in_json() -> None:
    done = dreamcache("bench", "scale", "--items", "1000,2000", "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert [size["items"] for size in measured] == [1000, 2000]
    assert set(measured[0]["microseconds_per_item"]) == {"plan", "resume", "compact", "manifest"}
    assert all(size["peak_bytes"] > 0 for size in measured)
    assert dreamcache("bench", "scale", "--items", "many").returncode == 2
