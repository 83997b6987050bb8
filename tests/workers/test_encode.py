"""The encoder worker on a real Ray and the tiny model: errors are values of their own subject's rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from dreamcache.core.config.failures import FailurePolicy
from tests.end_to_end.photos import write_photos
from tests.workers.small_job import SmallJob, small_job
from workers.attempts import AttemptBook
from workers.encode import EncodeWorker
from workers.guard import Watch
from workers.tables import ENCODED

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(300)]

POLICY = FailurePolicy(max_attempts=2)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> SmallJob:
    """Two good photos, a damaged one that two products share, one without any subject, and one that is transparent."""
    folder = tmp_path_factory.mktemp("job")
    catalog = write_photos(folder, 2)
    (folder / "bad.png").write_bytes((folder / "p0.png").read_bytes()[:80])
    catalog += [{"subject_id": name, "image": "bad.png", "class_name": "mug"} for name in ("x", "y")]
    Image.new("RGB", (64, 48), "gray").save(folder / "plain.png")
    Image.new("RGBA", (64, 48), (200, 30, 40, 0)).save(folder / "ghost.png")
    catalog += [
        {"subject_id": name, "image": f"{name}.png", "class_name": "mug"} for name in ("plain", "ghost")
    ]
    return small_job(folder, tiny_model, catalog)


def encoded(job: SmallJob, book: Any) -> dict[str, dict[str, Any]]:
    """The rows as the worker hands them on, by subject."""
    import ray

    watch = Watch(book, POLICY, gpus=0, memory_bytes=None)
    worker = ray.remote(num_cpus=0)(EncodeWorker).remote(job.context, watch)
    table: pa.Table = ray.get(worker.encode.remote(job.rows))
    assert table.schema == ENCODED and table["item_id"].to_pylist() == job.rows["item_id"].to_pylist()
    ray.kill(worker)
    return {row["subject_id"]: row for row in table.to_pylist()}


def test_a_bad_photo_costs_each_of_its_own_subjects_and_no_other(cluster: None, job: SmallJob) -> None:
    import ray

    rows = encoded(job, ray.remote(num_cpus=0)(AttemptBook).remote(POLICY))
    assert rows["p0"]["code"] is None and rows["p1"]["code"] is None
    for name in ("x", "y"):
        assert rows[name]["code"] == "truncated_image" and f"subject '{name}'" in rows[name]["message"]
        assert rows[name]["attempts"] == 0
    assert rows["ghost"]["code"] == "transparent_image" and "ghost.png" in rows["ghost"]["message"]
    files = list(Path(job.spec.cache_uri).rglob("*.parquet"))
    assert {file.stem for file in files} == {rows[name]["cache_key"] for name in ("p0", "p1", "plain")}


def test_a_photo_without_a_subject_is_noted_by_whoever_reads_its_features(
    cluster: None, job: SmallJob
) -> None:
    """Case 23. By the encoder that encodes it; one that finds them in the cache leaves it to the generator."""
    import ray

    shutil.rmtree(job.spec.cache_uri, ignore_errors=True)
    for note in ("too_little_left", None):
        rows = encoded(job, ray.remote(num_cpus=0)(AttemptBook).remote(POLICY))
        assert {name: row["segment_note"] for name, row in rows.items()} == {
            "p0": None, "p1": None, "x": None, "y": None, "ghost": None, "plain": note
        }  # fmt: skip


def test_a_photo_that_killed_its_worker_is_not_tried_again(cluster: None, job: SmallJob) -> None:
    import ray

    book = ray.remote(num_cpus=0)(AttemptBook).remote(POLICY)
    key = job.rows.to_pylist()[0]["cache_key"]
    for _ in range(POLICY.max_attempts):
        ray.get(book.begin.remote("another worker", (key,)))
    ray.get(book.settle.remote())
    rows = encoded(job, book)
    assert rows["p0"]["code"] == "worker_died" and "subject 'p0'" in rows["p0"]["message"]
    assert rows["p0"]["attempts"] == POLICY.max_attempts - 1 and rows["p1"]["code"] is None
