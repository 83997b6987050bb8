"""What `list` and `status` say: states of attempts, jobs found in a folder or a bucket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.errors import DreamCacheError
from jobs.cluster.observe import _attempt, list_jobs


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("RUNNING", None, "running"),
        ("SUCCEEDED", 0, "succeeded"),
        ("FAILED", 3, "with_failures"),
        ("FAILED", 4, "over_budget"),
        ("FAILED", 1, "failed"),
        ("FAILED", None, "failed"),
        ("STOPPED", None, "stopped"),
    ],
)
def test_states(status: str, code: int | None, state: str) -> None:
    from ray.job_submission import JobDetails

    labels = {"dreamcache_output": "s3://b/o", "dreamcache_job": "a"}
    details = JobDetails(
        type="SUBMISSION",
        entrypoint="x",
        submission_id="dreamcache-a-0123456789ab-2",
        metadata=labels,
        status=status,
        driver_exit_code=code,
        start_time=1_000_000,
    )
    found = _attempt(details)
    assert found is not None
    assert (found.state, found.number, found.job_id) == (state, 2, "dreamcache-a-0123456789ab")
    assert found.started_at == "1970-01-01T00:16:40+00:00"
    assert _attempt(details.copy(update={"metadata": {}})) is None


def _fill_root(write: Any) -> None:
    now = {"done": 3, "blocked": 1, "failed": 1, "left": 5, "total": 10}
    write(
        "shop/status.json",
        {"job": "shop", "state": "running", "this_run": now, "updated_at": "2026-11-01T10:00:00+00:00"},
    )
    write("shop/images/ab/status.json", {"job": "deeper"})
    training = {"job": "adapter", "kind": "training", "state": "finished", "step": 4, "steps": 4}
    write("adapter/status.json", {**training, "updated_at": "2026-11-01T10:00:00+00:00"})
    write("newer/status.json", {"format": 99})
    write("notes/readme.json", {})


def _check_root(root: str) -> None:
    training, row = list_jobs(None, root)
    assert (training["kind"], training["name"], training["done"]) == ("training", "adapter", 4)
    assert (row["job_id"], row["name"], row["state"], row["output"]) == (
        None,
        "shop",
        "running",
        f"{root}/shop",
    )
    assert (row["done"], row["failed"], row["remaining"], row["total"]) == (3, 2, 5, 10)


def test_jobs_are_listed_from_a_folder(tmp_path: Path) -> None:
    def write(key: str, value: Any) -> None:
        (tmp_path / "root" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / key).write_text(json.dumps(value))

    _fill_root(write)
    _check_root(str(tmp_path / "root"))
    with pytest.raises(DreamCacheError, match="must be a folder that holds jobs' outputs"):
        list_jobs(None, str(tmp_path / "none"))


def test_jobs_are_listed_from_a_bucket(bucket: str, s3: Any) -> None:
    name, _, prefix = bucket.removeprefix("s3://").partition("/")

    def write(key: str, value: Any) -> None:
        s3.client().put_object(Bucket=name, Key=f"{prefix}/{key}", Body=json.dumps(value).encode())

    _fill_root(write)
    _check_root(bucket)
