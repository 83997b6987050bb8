"""A job whose generator decodes beside denoising: pixels and ledger are those of one stage after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import ray

import jobs
from dreamcache.core.config.failures import FailurePolicy
from dreamcache.storage.events import Event, read_events
from dreamcache.storage.ledger import Ledger
from jobs.running import worker_ends
from jobs.running.report import Report
from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.workers import slow_decoding
from workers.attempts import AttemptBook
from workers.guard import Watch

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(600)]

PRODUCTS, BATCH, PROMPTS = 3, 2, ("a {class_name} on sand", "a {class_name} in snow")
ITEMS = PRODUCTS * len(PROMPTS)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    root = str(Path(__file__).parents[2])
    environment = {
        "worker_process_setup_hook": slow_decoding.set_up,
        "env_vars": {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    }
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@ray.remote(max_restarts=-1, num_cpus=0)
class Joined:
    """A worker's process that does nothing."""

    def __init__(self, book: Any) -> None:
        Watch(book, FailurePolicy(), gpus=1, memory_bytes=1 << 50).join("generator")

    def is_up(self) -> bool:
        return True


def test_ends_of_workers_are_read_from_rays_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is started again counts from its new start, one that is killed for good to its end."""
    monkeypatch.setattr(worker_ends, "LOOK_S", 0.0)
    book = ray.remote(num_cpus=0)(AttemptBook).remote(FailurePolicy())
    actor = Joined.remote(book)
    ends = worker_ends.WorkerEnds(book)

    def events() -> list[str]:
        ends.look()
        return [event["event"] for event in ray.get(book.events.remote(0))]

    def wait_for(wanted: list[str]) -> None:
        by = time.monotonic() + 120
        while (seen := events()) != wanted:
            assert time.monotonic() < by, seen
            time.sleep(0.1)

    assert ray.get(actor.is_up.remote())
    ray.kill(actor, no_restart=False)
    started = ["worker_started", "worker_lost", "worker_started"]
    wait_for(started)
    before = ray.get(book.gpu_seconds.remote())
    time.sleep(0.5)
    assert events() == started
    assert ray.get(book.gpu_seconds.remote()) > before + 0.4, "the restarted process counts"
    ray.kill(actor)
    wait_for([*started, "worker_ended"])
    spent = ray.get(book.gpu_seconds.remote())
    time.sleep(0.2)
    assert ray.get(book.gpu_seconds.remote()) == spent


def run(folder: Path, model: dict[str, str], mode: str) -> Report:
    folder.mkdir()
    job = write_job(
        folder,
        catalog=write_catalog(folder, write_photos(folder, PRODUCTS)),
        output="output",
        model=model,
        prompts=list(PROMPTS),
        generation={"num_inference_steps": 4},
        workers={
            "batch_size": BATCH,
            "overlap_decoding": mode,
            "encoders": {"cpus": 0.2},
            "generators": {"cpus": 0.5},
            "publishers": {"cpus": 0.2},
        },
    )
    return jobs.run(jobs.load_spec(job), gallery=False, quiet=True)


def records(report: Report) -> dict[str, tuple[Any, ...]]:
    rows = [row for table in Ledger(report.output).scan() for row in table.to_pylist()]
    assert len(rows) == ITEMS
    return {
        row["item_id"]: (row["status"], row["code"], row["pixel_sha256"], row["attempts"]) for row in rows
    }


def spans(report: Report, name: str) -> list[tuple[float, float, str]]:
    """(begin, end, first item) of a stage of each batch."""
    events: list[Event] = [event for _, event in read_events(report.output)]
    stages = [event for event in events if event["event"] == name and event["kind"] == "generator"]
    ends = [datetime.fromisoformat(event["at"]).timestamp() for event in stages]
    return [(end - event["seconds"], end, event["first"]) for event, end in zip(stages, ends, strict=True)]


def test_pixels_and_records_are_the_same_and_both_stages_run_at_once(
    tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    """The first batch's decoding takes long, and that of one batch fails."""
    after, beside = run(tmp_path / "off", tiny_model, "off"), run(tmp_path / "on", tiny_model, "on")
    assert after.counts.done == beside.counts.done == ITEMS
    assert records(after) == records(beside)
    assert not spans(after, "decoded")
    denoised, decoded = spans(beside, "batch"), spans(beside, "decoded")
    assert len(denoised) == len(decoded) == ITEMS / BATCH
    assert any(
        begin < other_end and other_begin < end
        for begin, end, item in decoded
        for other_begin, other_end, other in denoised
        if other != item
    ), "no decoding was beside another batch's denoising"
