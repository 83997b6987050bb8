"""Items that do their worst to their worker, each in a batch with seven good ones: the seven are done, it is failed.

One job holds them all, one subject and one batch to each kind; a job without poison says what the others must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

import jobs
from dreamcache.storage.image_store import decode_image
from tests.chaos import poison
from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(1500),
]

ATTEMPTS = 2
TIMEOUT_S = 15.0
MEMORY = 3_000_000_000  # of one generator; the poison that allocates meets it, not the machine's end
KINDS = {
    "raises": ("generation_error", 1),
    "nan": ("nan_image", 1),
    "allocates": ("out_of_memory", 1),
    "exits": ("worker_died", ATTEMPTS),
    "segfaults": ("worker_died", ATTEMPTS),
    "hangs-in-c": ("timeout", ATTEMPTS),
}
GOOD = [f"a {{class_name}} on {place}" for place in ("sand", "snow", "grass", "wood", "stone", "silk", "ice")]
CORRUPT = "corrupt"  # its features in the cache are damaged before the run
ENCODER = f"{poison.MARK}exits photo"  # kills the encoder

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Its workers carry the poison; `jobs.run` joins the cluster that its process is in."""
    # A worker reads the hook before it learns where its driver's modules are.
    root = str(Path(__file__).parents[2])
    environment = {"worker_process_setup_hook": poison.set_up, "env_vars": {"PYTHONPATH": root}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("poison")


@pytest.fixture(scope="module")
def calm(folder: Path, tiny_model: dict[str, str]) -> Rows:
    """The good items alone."""
    return run(folder, "calm", tiny_model, {subject: GOOD for subject in (*KINDS, CORRUPT)})


@pytest.fixture(scope="module")
def poisoned(folder: Path, tiny_model: dict[str, str], calm: Rows) -> Rows:
    """All at once, after one cache file was damaged."""
    damage(cached(folder, calm[CORRUPT][0]["cache_key"]))
    prompts = {kind: [*GOOD[:4], f"{poison.MARK}{kind} here", *GOOD[4:]] for kind in KINDS}
    return run(folder, "poisoned", tiny_model, {**prompts, CORRUPT: GOOD, ENCODER: GOOD[:2]})


def run(folder: Path, name: str, model: dict[str, str], prompts: dict[str, list[str]]) -> Rows:
    """Runs a job and returns its manifest's rows by subject. Every subject has its own photo, the same in each job."""
    photos = write_photos(folder, len(prompts))
    rows = [
        {**photo, "subject_id": subject, "prompts": "|".join(own)}
        for photo, (subject, own) in zip(photos, prompts.items(), strict=True)
    ]
    (folder / name).mkdir()
    job = write_job(
        folder / name,
        catalog=write_catalog(folder, rows),
        output="output",
        cache=str(folder / "cache"),
        model=model,
        workers={
            "batch_size": 8,
            "encoders": {"cpus": 0.2},
            "generators": {"count": 2, "cpus": 0.5, "memory_bytes": MEMORY},
            "publishers": {"cpus": 0.2},
        },
        failures={"max_attempts": ATTEMPTS, "item_timeout_s": TIMEOUT_S},
    )
    report = jobs.run(jobs.load_spec(job), gallery=False, quiet=True)
    assert report.counts.pending == 0
    found: Rows = {}
    for row in jobs.outputs(report.output).to_pylist():
        found.setdefault(row["subject_id"], []).append(
            {**row, "file": folder / name / "output" / str(row["key"])}
        )
    return found


def cached(folder: Path, cache_key: str) -> Path:
    (found,) = (folder / "cache").rglob(f"{cache_key}.parquet")
    return found


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


def assert_same_images(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """The same items, with the same pixels: halving keeps the batch's shape."""
    made = {row["item_id"]: row["file"] for row in ours if row["status"] == "done"}
    calm = {row["item_id"]: row["file"] for row in theirs}
    assert set(made) == set(calm)
    for item, file in made.items():
        assert np.array_equal(decode_image(file.read_bytes()), decode_image(calm[item].read_bytes()))


@pytest.mark.parametrize("kind", KINDS)
def test_seven_are_done_and_the_eighth_has_its_reason(kind: str, poisoned: Rows, calm: Rows) -> None:
    (failed,) = (row for row in poisoned[kind] if row["status"] != "done")
    assert (failed["status"], failed["code"], failed["attempts"]) == ("failed", *KINDS[kind])
    assert poison.kind_of(failed["prompt"]) == kind
    assert failed["item_id"][:12] in failed["message"]
    assert len(calm[kind]) == 7
    assert_same_images(poisoned[kind], calm[kind])


def test_a_photo_that_kills_its_encoder_costs_its_own_subject(poisoned: Rows) -> None:
    outcomes = {(row["status"], row["code"], row["attempts"]) for row in poisoned[ENCODER]}
    assert outcomes == {("failed", "worker_died", ATTEMPTS)}
    assert all("encoding its photo" in row["message"] for row in poisoned[ENCODER])


def test_damaged_features_are_made_again(poisoned: Rows, calm: Rows) -> None:
    assert_same_images(poisoned[CORRUPT], calm[CORRUPT])
