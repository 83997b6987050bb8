"""The encoder worker without Ray: whose error an error is, and which one ends the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.records import Request
from tests.end_to_end.photos import write_photos
from tests.workers.near_book import near_watch
from tests.workers.small_job import SmallJob, small_job
from workers.encode import EncodeWorker


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> SmallJob:
    """A good photo, and a damaged one that two products share."""
    folder = tmp_path_factory.mktemp("job")
    catalog = write_photos(folder, 1)
    (folder / "bad.png").write_bytes((folder / "p0.png").read_bytes()[:80])
    catalog += [{"subject_id": name, "image": "bad.png", "class_name": "mug"} for name in ("x", "y")]
    return small_job(folder, tiny_model, catalog)


@pytest.fixture
def worker(job: SmallJob, monkeypatch: pytest.MonkeyPatch) -> EncodeWorker:
    monkeypatch.setattr(
        "workers.guard.limit_memory", lambda limit: None
    )  # of the process that runs the tests
    monkeypatch.setattr("workers.guard.signal.signal", lambda number, handler: None)
    return EncodeWorker(job.context, near_watch(FailurePolicy()))


def encoded(worker: EncodeWorker, job: SmallJob) -> dict[str, dict[str, Any]]:
    table: pa.Table = worker.encode(job.rows)
    return {row["subject_id"]: row for row in table.to_pylist()}


def test_a_shared_photos_error_names_each_of_its_subjects(worker: EncodeWorker, job: SmallJob) -> None:
    rows = encoded(worker, job)
    assert rows["p0"]["code"] is None
    for name in ("x", "y"):
        assert rows[name]["code"] == "truncated_image" and f"subject '{name}'" in rows[name]["message"]
    files = list(Path(job.spec.cache_uri).rglob("*.parquet"))
    assert {file.stem for file in files} == {rows["p0"]["cache_key"]}


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("a photo that nobody foresaw"), False),
    ],
    ids=["device", "photo"],
)
def test_a_lost_device_ends_the_worker_and_blames_no_photo(
    worker: EncodeWorker, job: SmallJob, monkeypatch: pytest.MonkeyPatch, error: Exception, is_lost: bool
) -> None:
    def fail(request: Request) -> None:
        raise error

    monkeypatch.setattr(worker.references, "has", lambda request: False)
    monkeypatch.setattr(worker.references, "ensure", fail)
    if is_lost:
        with pytest.raises(torch.AcceleratorError):
            worker.encode(job.rows)
    else:
        assert {row["code"] for row in encoded(worker, job).values()} == {"encode_error"}
