"""What a disturbed job must have in common with an undisturbed one when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dreamcache.storage.image_store import decode_image, pixel_sha256
from dreamcache.storage.ledger import Ledger
from tests.end_to_end.s3_job import S3Job
from tests.s3_server import S3Server

BOUND = 1  # of 255: what an image may differ by where the batch's shape was another; see test_invariance
SAME = ("item_id", "subject_id", "prompt", "seed", "key", "cache_key")

Images = dict[str, Any]
"""(ETag, LastModified, size) by key, as `S3Job.objects("images/")` lists them."""


def assert_same_end(
    job: S3Job, calm: S3Job, server: S3Server, *, committed: Sequence[Images] = (), exact: bool = True
) -> None:
    """Every item of the undisturbed job once, with its pixels, and nothing that was committed once written again.

    committed: what was there at moments of the run. exact: bit for bit, else within BOUND.
    """
    rows, expected = job.manifest().to_pylist(), calm.manifest().to_pylist()
    assert [{name: row[name] for name in SAME} for row in rows] == [
        {name: row[name] for name in SAME} for row in expected
    ]
    assert {row["status"] for row in rows} == {"done"}, [row for row in rows if row["status"] != "done"][:3]
    assert_whole(job, server)
    assert_not_rewritten(job, committed)
    for row in rows:
        ours, theirs = decode_image(job.read(row["key"])), decode_image(calm.read(row["key"]))
        assert pixel_sha256(ours) == row["pixel_sha256"]
        distance = np.abs(ours.astype(int) - theirs.astype(int)).max()
        assert distance <= (0 if exact else BOUND), (row["item_id"], distance)


def assert_whole(job: S3Job, server: S3Server) -> None:
    """Manifest, ledger and images hold the same items, each once; records of one item agree."""
    rows = job.manifest().to_pylist()
    done = [row for row in rows if row["status"] == "done"]
    assert len({row["item_id"] for row in rows}) == len(rows)
    assert {row["key"] for row in done} == set(job.objects("images/"))
    with server.use():
        ledger = Ledger(job.output)
        records = [row for table in ledger.scan() for row in table.to_pylist()]
        outcomes = ledger.outcomes()
    assert {item: outcome.status for item, outcome in outcomes.items()} == {
        row["item_id"]: row["status"] for row in rows if row["status"] != "pending"
    }
    recorded = {
        (row["item_id"], row["key"], row["pixel_sha256"]) for row in records if row["status"] == "done"
    }
    assert recorded == {(row["item_id"], row["key"], row["pixel_sha256"]) for row in done}


def assert_not_rewritten(job: S3Job, committed: Sequence[Images]) -> None:
    final = job.objects("images/")
    for images in committed:
        assert {key: final.get(key) for key in images} == images
