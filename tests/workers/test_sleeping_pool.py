"""Real workers that sleep: across the edges of windows nearly all of their time is spent on batches.

SLEEPERS=64 runs as many on a machine that has the memory; 256 are tried on a simulated clock in
`tests/jobs/test_windows.py`. RAY_DATA_DOWNSTREAM_CAPACITY_BACKPRESSURE_RATIO=10 tries another
bound of Ray Data's queues.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from pathlib import Path

import pytest
import ray

import jobs
from dreamcache.storage.events import Event, read_events
from dreamcache.storage.ledger import Ledger
from jobs.running import planned, runner
from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.workers import sleeping

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SLEEPERS = int(os.environ.get("SLEEPERS", "8"))
SECONDS = float(os.environ.get(sleeping.SECONDS, "4"))
BATCH, BATCHES, WINDOWS = 2, 9, 3


@pytest.fixture(autouse=True)
def cluster() -> Iterator[None]:
    root = str(Path(__file__).parents[2])
    variables = {"PYTHONPATH": root, sleeping.SECONDS: str(SECONDS), "OMP_NUM_THREADS": "1"}
    environment = {"worker_process_setup_hook": sleeping.set_up, "env_vars": variables}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


def busy_share(events: list[Event]) -> float:
    """From the moment when all workers are ready until the first of them has no batch left."""

    def at(event: Event) -> float:
        return datetime.fromisoformat(event["at"]).timestamp()

    batches = [
        (event["worker"], at(event) - event["seconds"], at(event))
        for event in events
        if event["event"] == "batch"
    ]
    began = max(at(event) for event in events if event["event"] == "worker_ready")
    last: dict[str, float] = {}
    for worker, _, end in batches:
        last[worker] = max(end, last.get(worker, end))
    ended = min(last.values())
    busy = sum(max(0.0, min(end, ended) - max(begin, began)) for _, begin, end in batches)
    return busy / (len(last) * (ended - began))


def most_waiting(output: str, events: list[Event]) -> int:
    """Batches at once that were generated and not yet recorded."""
    recorded: dict[str, float] = {}
    for table in Ledger(output).scan():
        for row in table.to_pylist():
            recorded[row["item_id"]] = row["recorded_at"].timestamp()
    batches = [event for event in events if event["event"] == "batch"]
    ends = {event["first"]: datetime.fromisoformat(event["at"]).timestamp() for event in batches}
    moments = sorted([(at, 1) for at in ends.values()] + [(recorded[item], -1) for item in ends])
    return max(accumulate(change for _, change in moments))


def test_sleeping_workers_lose_little_at_the_edges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = SLEEPERS * BATCHES * BATCH
    for module in (planned, runner):
        monkeypatch.setattr(module, "WINDOW_ROWS", items // WINDOWS)
    job = write_job(
        tmp_path,
        catalog=write_catalog(tmp_path, write_photos(tmp_path, 1)),
        output="output",
        method="text-only",
        model={"base": "mini"},
        generation={"num_inference_steps": 2},
        prompts=["a {class_name} on sand"],
        samples=items,
        workers={
            "batch_size": BATCH,
            "generators": {"count": SLEEPERS, "cpus": 0.01},
            "publishers": {"cpus": 0.5},
        },
    )
    report = jobs.run(jobs.load_spec(job), gallery=False, quiet=True)
    events = [event for _, event in read_events(report.output)]
    assert report.counts.done == items
    assert len([event for event in events if event["event"] == "window"]) == WINDOWS
    assert len([event for event in events if event["event"] == "worker_ready"]) == SLEEPERS
    share, waiting = busy_share(events), most_waiting(report.output, events)
    with capsys.disabled():
        print(
            f"\n{SLEEPERS} workers, batches of {SECONDS:g} s: busy {share:.4f}, {waiting} batches waited at most"
        )
    assert 0 < share <= 1
