"""An item that does its worst to its worker, in a batch with seven good ones: the seven are done, it is failed.

One Ray cluster for all; one job for each kind, so that each is alone with its seven.
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

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ATTEMPTS = 2
PROMPTS = [
    f"a {{class_name}} on {place}" for place in ("sand", "snow", "grass", "wood", "stone", "silk", "ice")
]
MEMORY = 3_000_000_000  # of one generator; the poison that allocates meets it, not the machine's end


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Its workers carry the poison; `jobs.run` joins the cluster that its process is in."""
    environment = {"worker_process_setup_hook": poison.set_up}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> dict[str, Any]:
    """The seven's images without the eighth."""
    folder = tmp_path_factory.mktemp("calm")
    return images(run(folder, tiny_model, PROMPTS))


def run(
    folder: Path, model: dict[str, str], prompts: list[str], subject: str = "mug-1", **failures: float
) -> list[dict[str, Any]]:
    """Runs a job of one batch of eight and returns its manifest's rows."""
    folder.mkdir(exist_ok=True)
    rows = [{**row, "subject_id": subject} for row in write_photos(folder, 1)]
    job = write_job(
        folder,
        catalog=write_catalog(folder, rows),
        output="output",
        prompts=prompts,
        model=model,
        workers={"batch_size": 8, "generators": {"cpus": 0.5, "memory_bytes": MEMORY}},
        failures={"max_attempts": ATTEMPTS, **failures},
    )
    report = jobs.run(jobs.load_spec(job), gallery=False, quiet=True)
    assert report.counts.pending == 0
    return [{**row, "folder": folder / "output"} for row in jobs.outputs(report.output).to_pylist()]


def images(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        row["prompt"]: decode_image((row["folder"] / row["key"]).read_bytes())
        for row in rows
        if row["status"] == "done"
    }


@pytest.mark.parametrize(
    ("kind", "code", "attempts"),
    [
        ("raises", "generation_error", 1),
        ("nan", "nan_image", 1),
        ("allocates", "out_of_memory", 1),
        ("exits", "worker_died", ATTEMPTS),
        ("segfaults", "worker_died", ATTEMPTS),
        ("hangs-in-c", "timeout", ATTEMPTS),
    ],
)
def test_seven_are_done_and_the_eighth_has_its_reason(
    kind: str, code: str, attempts: int, tmp_path: Path, tiny_model: dict[str, str], calm: dict[str, Any]
) -> None:
    poisoned = f"a {{class_name}} {poison.MARK}{kind} here"
    limit = {"item_timeout_s": 15.0} if code == "timeout" else {}
    rows = run(tmp_path, tiny_model, [*PROMPTS[:4], poisoned, *PROMPTS[4:]], **limit)
    failed = [row for row in rows if row["status"] != "done"]
    assert [(row["status"], row["code"], row["attempts"]) for row in failed] == [("failed", code, attempts)]
    assert kind in failed[0]["prompt"] and failed[0]["item_id"][:12] in failed[0]["message"]
    made = images(rows)
    assert set(made) == set(calm)
    # Halving keeps the batch's shape: the neighbours' pixels are those of a run without poison.
    assert all(np.array_equal(made[prompt], calm[prompt]) for prompt in calm)


def test_a_photo_that_kills_its_encoder_costs_its_own_subject(
    tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    rows = run(tmp_path, tiny_model, PROMPTS[:2], subject=f"{poison.MARK}exits ")
    assert {(row["status"], row["code"], row["attempts"]) for row in rows} == {
        ("failed", "worker_died", ATTEMPTS)
    }
    assert all("encoding its photo" in row["message"] for row in rows)


def test_a_corrupt_cache_file_is_made_again(
    tmp_path: Path, tiny_model: dict[str, str], calm: dict[str, Any]
) -> None:
    run(tmp_path / "first", tiny_model, PROMPTS[:1])
    (cached,) = (tmp_path / "first" / "output-cache").rglob("*/*/*.parquet")
    sound = cached.read_bytes()
    cached.write_bytes(sound[:1000] + bytes([sound[1000] ^ 1]) + sound[1001:])
    rows = run(tmp_path / "first", tiny_model, PROMPTS)
    assert {row["status"] for row in rows} == {"done"}
    assert all(np.array_equal(image, calm[prompt]) for prompt, image in images(rows).items())
    assert cached.read_bytes() != sound[:1000] + bytes([sound[1000] ^ 1]) + sound[1001:]
