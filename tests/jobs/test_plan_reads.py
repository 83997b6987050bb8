"""What a plan asks of S3: photos are read once, and after that a folder is listed. Requests are counted by a proxy.

The same holds for the plans of `run` and `submit`: an encoder reads each photo once, and the planner none.

BENCH_PHOTOS=20000 pytest -s tests/jobs/test_plan_reads.py      (make bench-plan; 500 photos otherwise)
"""

from __future__ import annotations

import csv
import json
import os
import random
import time
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dreamcache.storage.open_store import store_for
from tests.chaos.faulty_proxy import FaultyProxy, faulty_proxy
from tests.command import dreamcache, environment
from tests.ray_head import RayHead
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(7200)]

NUM_PHOTOS = int(os.environ.get("BENCH_PHOTOS", "500"))
PHOTO_BYTES = 200_000
MOST_RUN = 500
"""Items that the run tries: of more photos it ends by its limit, with some in flight."""
HEADS = 20
"""Photos of a folder that are asked for one by one before it is listed."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """photos: their folder. A command runs through a proxy that counts what it asks for."""

    photos: str
    file: Path
    server: S3Server

    def __call__(
        self, verb: str, *options: str, codes: Collection[int] = (0,), ray: bool = False
    ) -> tuple[Any, Counter[str]]:
        """(what it printed as JSON, photos' requests by kind). ray: on a cluster of its own, through the proxy too."""
        with faulty_proxy(self.server) as proxy, ExitStack() as stack:
            variables = proxy.environment()
            if ray:
                head = stack.enter_context(RayHead(env=environment(variables)))
                variables = {**variables, **head.access(), "RAY_ADDRESS": head.url}
            began = time.monotonic()
            done = dreamcache(
                *(verb, str(self.file), "--json", *options), extra=variables, seconds=400 + NUM_PHOTOS / 10
            )
            assert done.returncode in codes, done.stdout + done.stderr
            counts = _photo_requests(proxy)
            seconds = time.monotonic() - began
            print(f"{verb} {' '.join(options)}: {NUM_PHOTOS:,} photos, {dict(counts)}, {seconds:.1f} s")
            return json.loads(done.stdout), counts


def photo(number: int, salt: str = "") -> bytes:
    """No picture: an encoder reads it and names it, which costs next to nothing."""
    return random.Random(f"{number}{salt}").randbytes(PHOTO_BYTES)


@pytest.fixture
def job(s3: S3Server, tmp_path: Path) -> Job:
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
        "model": {"base": "mini"},
        "limits": {"max_items": MOST_RUN},
        "workers": {"encoders": {"count": 1}, "generators": {"count": 1}},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(values))
    return Job(photos=folder, file=tmp_path / "job.yaml", server=s3)


def _photo_requests(proxy: FaultyProxy) -> Counter[str]:
    counts: Counter[str] = Counter()
    for method, path in proxy.requests:
        if "/photos/" in path.partition("?")[0]:
            counts["read" if method == "GET" else method] += 1
        elif "prefix=photos" in path and method == "GET":
            counts["list"] += 1
    return counts


def test_photos_are_read_once_and_then_listed(job: Job) -> None:
    first, counts = job("plan")
    assert counts["read"] == first["photos"]["read"] == NUM_PHOTOS

    second, counts = job("plan")
    assert second["photos"] == {"known": NUM_PHOTOS, "read": 0, "notes": []}
    _check_only_listed(counts)
    assert second["plan"] == first["plan"]

    # One photo rewritten at its place with the same size.
    uri = f"{job.photos}/{NUM_PHOTOS // 2:06}.jpg"
    store_for(uri).write(uri, photo(NUM_PHOTOS // 2, "changed"))
    third, counts = job("plan")
    assert counts["read"] == third["photos"]["read"] == 1
    assert third["plan"] != first["plan"]

    is_whole = NUM_PHOTOS <= MOST_RUN
    ran, counts = job("run", codes=(3,) if is_whole else (4,))
    if is_whole:
        assert counts["read"] == ran["failed"] == NUM_PHOTOS, "an encoder reads each, the planner none"
    else:
        assert MOST_RUN <= ran["failed"] <= counts["read"] < NUM_PHOTOS / 2

    _, counts = job("submit", "--follow", "--shared-files", codes=(3, 4), ray=True)
    _check_only_listed(counts)

    _, counts = job("plan", "--verify-photos")
    assert counts["read"] == NUM_PHOTOS


def _check_only_listed(counts: Counter[str]) -> None:
    pages = NUM_PHOTOS // 1000 + 1
    assert counts["read"] == 0 and counts["list"] <= pages
    assert counts["HEAD"] <= HEADS * pages + HEADS
