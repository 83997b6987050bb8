"""What a plan asks of S3: photos are read once, and after that a folder is listed. Requests are counted by a proxy.

BENCH_PHOTOS=20000 pytest -s tests/jobs/test_plan_reads.py      (make bench-plan; 500 photos otherwise)
"""

from __future__ import annotations

import csv
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcache.storage.open_store import store_for
from tests.chaos.faulty_proxy import FaultyProxy, faulty_proxy
from tests.command import dreamcache
from tests.jobs.conftest import write_model
from tests.s3_server import S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

NUM_PHOTOS = int(os.environ.get("BENCH_PHOTOS", "500"))
PHOTO_BYTES = 200_000
HEADS = 20
"""Photos of a folder that are asked for one by one before it is listed."""

Plan = Callable[..., tuple[dict[str, Any], Counter[str]]]


def photo(number: int, salt: str = "") -> bytes:
    return random.Random(f"{number}{salt}").randbytes(PHOTO_BYTES)


@pytest.fixture
def job(s3: S3Server, tmp_path: Path) -> tuple[str, Plan]:
    """(the folder of the photos, dreamcache plan through a proxy: what it printed, photos' requests by kind)."""
    folder = f"{s3.make_bucket('plan-reads')}/photos"
    uris = [f"{folder}/{number:06}.jpg" for number in range(NUM_PHOTOS)]
    for number, uri in enumerate(uris):
        store_for(uri).write(uri, photo(number))
    with (tmp_path / "catalog.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject_id", "image"])
        writer.writerows([f"p{number}", uri] for number, uri in enumerate(uris))
    bucket = folder.rpartition("/")[0]
    values = {
        "name": "plan-reads",
        "catalog": str(tmp_path / "catalog.csv"),
        "catalog_roots": [folder],
        "output": f"{bucket}/output",
        "prompts": ["a {class_name} on sand"],
        "class_name": "cup",
        "model": write_model(tmp_path / "model"),
    }
    (tmp_path / "job.yaml").write_text(json.dumps(values))

    def plan(*options: str) -> tuple[dict[str, Any], Counter[str]]:
        with faulty_proxy(s3) as proxy:
            began = time.monotonic()
            done = dreamcache(
                *("plan", str(tmp_path / "job.yaml"), "--json", *options),
                extra=proxy.environment(),
                seconds=400 + NUM_PHOTOS / 10,
            )
            assert done.returncode == 0, done.stderr
            counts = _photo_requests(proxy)
            print(
                f"{NUM_PHOTOS:,} photos, {dict(counts)}, {time.monotonic() - began:.1f} s {' '.join(options)}"
            )
            return json.loads(done.stdout), counts

    return folder, plan


def _photo_requests(proxy: FaultyProxy) -> Counter[str]:
    counts: Counter[str] = Counter()
    for method, path in proxy.requests:
        if "/photos/" in path.partition("?")[0]:
            counts["read" if method == "GET" else method] += 1
        elif "prefix=photos" in path and method == "GET":
            counts["list"] += 1
    return counts


def test_the_second_plan_reads_no_photo(job: tuple[str, Plan]) -> None:
    folder, plan = job
    first, counts = plan()
    assert counts["read"] == first["photos"]["read"] == NUM_PHOTOS

    second, counts = plan()
    assert second["photos"] == {"known": NUM_PHOTOS, "read": 0, "notes": []}
    pages = NUM_PHOTOS // 1000 + 1
    assert counts["read"] == 0 and counts["list"] <= pages
    assert counts["HEAD"] <= HEADS * pages + HEADS
    assert second["plan"] == first["plan"]

    # One photo rewritten at its place with the same size.
    uri = f"{folder}/{NUM_PHOTOS // 2:06}.jpg"
    store_for(uri).write(uri, photo(NUM_PHOTOS // 2, "changed"))
    third, counts = plan()
    assert counts["read"] == third["photos"]["read"] == 1
    assert third["plan"] != first["plan"]

    _, counts = plan("--verify-photos")
    assert counts["read"] == NUM_PHOTOS
