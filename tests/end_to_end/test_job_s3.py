"""The main job with everything on a real S3 server, read back with the readers that users have."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import s3fs

from dreamcache.storage.arrow import pyarrow_filesystem
from dreamcache.storage.image_store import read_metadata, stored_pixel_sha256
from jobs import outputs
from tests.command import dreamcache
from tests.end_to_end.s3_job import PROMPTS, S3Job, make_s3_job
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module")]

SUBJECTS = 3
ITEMS = SUBJECTS * len(PROMPTS)


@pytest.fixture(scope="module")
def job(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> S3Job:
    """Run once; the tests read what came of it."""
    folder = f"{s3_server.make_bucket('job-s3')}/shop"
    made = make_s3_job(s3_server, tmp_path_factory.mktemp("job-s3"), folder, tiny_model, subjects=SUBJECTS)
    done = dreamcache("run", made.path, "--json", extra=s3_server.environment())
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["done"], report["generated"], report["output"]) == (ITEMS, ITEMS, made.output)
    assert report["gallery"] == f"{made.output}/gallery/index.html"
    return made


def test_every_listed_image_is_there_as_listed(job: S3Job) -> None:
    rows = job.manifest().to_pylist()
    images = job.objects("images/")
    assert {row["key"] for row in rows} == set(images)
    for row in rows:
        data = job.read(row["key"])
        assert row["status"] == "done"
        assert row["uri"] == f"{job.output}/{row['key']}"
        assert row["num_bytes"] == len(data) == images[row["key"]][2]
        assert row["pixel_sha256"] == stored_pixel_sha256(data)
        assert read_metadata(data)["item_id"] == row["item_id"]
    assert len({row["pixel_sha256"] for row in rows}) == ITEMS
    assert len({row["settings_fingerprint"] for row in rows} - {None}) == 1, "one run has one value"
    assert {row["scene"] for row in rows} == {str(number) for number in range(len(PROMPTS))}
    assert all(row["recorded_at"] is not None for row in rows)


def test_pyarrow_boto3_and_s3fs_read_one_manifest(job: S3Job, s3_server: S3Server) -> None:
    by_boto3 = job.manifest()
    assert by_boto3.num_rows == ITEMS
    with s3_server.use():
        filesystem, path = pyarrow_filesystem(f"{job.output}/manifest.parquet")
        assert pq.read_table(path, filesystem=filesystem).equals(by_boto3)
        assert outputs(job.output).equals(by_boto3)
        assert outputs(job.output, subject="p1").num_rows == len(PROMPTS)
        plain = s3fs.S3FileSystem(endpoint_url=s3_server.endpoint)
        with plain.open(f"{job.output}/manifest.parquet") as file:
            assert pq.read_table(file).equals(by_boto3)
        parts = pyarrow.dataset.dataset(f"{path.removesuffix('manifest.parquet')}plan", filesystem=filesystem)
        assert parts.to_table()["item_id"].equals(by_boto3["item_id"])
    summary = json.loads(job.read("manifest.json"))
    assert (summary["job"], summary["counts"]["done"]) == ("job", ITEMS)


def test_the_read_verbs_answer_from_the_bucket(job: S3Job, s3_server: S3Server) -> None:
    extra = s3_server.environment()
    status = json.loads(dreamcache("status", job.output, "--json", extra=extra).stdout)
    assert (status["state"], status["details"]["plan_counts"]["done"]) == ("finished", ITEMS)
    rows = json.loads(dreamcache("outputs", job.path, "--json", "--limit", "0", extra=extra).stdout)
    assert [row["item_id"] for row in rows] == job.manifest()["item_id"].to_pylist()
    cache = f"{job.folder}/cache"
    entries = json.loads(dreamcache("cache", "ls", cache, "--json", extra=extra).stdout)
    assert {entry["cache_key"] for entry in entries} == set(job.manifest()["cache_key"].to_pylist())
    verified = json.loads(dreamcache("cache", "verify", cache, "--json", extra=extra).stdout)
    assert verified == {"checked": SUBJECTS, "damaged": [], "unsealed": []}


def test_the_same_command_again_makes_nothing(job: S3Job, s3_server: S3Server) -> None:
    before = job.objects()
    done = dreamcache("run", job.path, "--json", extra=s3_server.environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["generated"] == 0
    after = job.objects()
    # Every run is recorded.
    assert {key for key in set(after) - set(before) if not key.startswith("events/")} == set()
    assert set(before) <= set(after)
    for folder in ("images/", "ledger/"):
        kept = {key for key in before if key.startswith(folder)}
        assert kept
        assert {key: after[key] for key in kept} == {key: before[key] for key in kept}


def test_retry_makes_what_failed_and_nothing_else(
    s3_server: S3Server, tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    """The photo is too small for the first run's limits; limits are no part of an item's id."""
    folder = f"{s3_server.make_bucket('job-s3')}/retry"
    strict = {"limits": {"min_side": 60}}
    job = make_s3_job(
        s3_server, tmp_path, folder, tiny_model, subjects=1, prompts=["a mug", "a {colour} mug"], **strict
    )
    extra = s3_server.environment()
    first = dreamcache("run", job.path, "--json", extra=extra)
    assert first.returncode == 3, first.stderr
    assert _codes(job) == {"a mug": "too_small", "a {colour} mug": "unknown_placeholder"}
    relaxed = ["--set", "limits.min_side=8", "--json"]
    again = dreamcache("retry", job.path, *relaxed, "--reason", "too_small", extra=extra)
    assert again.returncode == 3, again.stderr
    assert json.loads(again.stdout)["generated"] == 1
    assert _codes(job) == {"a mug": None, "a {colour} mug": "unknown_placeholder"}
    assert dict(zip(*job.manifest().select(["prompt", "attempts"]).to_pydict().values(), strict=True)) == {
        "a mug": 2,
        "a {colour} mug": 1,
    }


def _codes(job: S3Job) -> dict[str, str | None]:
    return {row["prompt"]: row["code"] for row in job.manifest().to_pylist()}
