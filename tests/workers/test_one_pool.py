"""One pool of workers a run: three windows of the plan load each worker's model once, with and without lost workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import ray

import jobs
from dreamcache.storage.events import Event, read_events
from dreamcache.storage.ledger import Ledger
from jobs.running import planned, runner
from jobs.running.report import Report
from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(600)]

WINDOW, SUBJECTS, PROMPTS = 12, 6, 6
ITEMS = SUBJECTS * PROMPTS


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (planned, runner):
        monkeypatch.setattr(module, "WINDOW_ROWS", WINDOW)


def run(folder: Path, model: dict[str, str], **changes: Any) -> Report:
    job = write_job(
        folder,
        catalog=write_catalog(folder, write_photos(folder, SUBJECTS)),
        output="output",
        model=model,
        prompts=[f"a {{class_name}} number {number}" for number in range(PROMPTS)],
        workers={
            "batch_size": 2,
            "encoders": {"cpus": 0.2},
            "generators": {"count": 2, "cpus": 0.5},
            "publishers": {"cpus": 0.2},
        },
        **changes,
    )
    return jobs.run(jobs.load_spec(job), gallery=False, quiet=True)


def events_of(report: Report, name: str) -> list[Event]:
    return [event for _, event in read_events(report.output) if event["event"] == name]


def check_ledger(report: Report) -> None:
    """Each item has one record, of its first attempt."""
    records = [row for table in Ledger(report.output).scan() for row in table.to_pylist()]
    assert len(records) == len({row["item_id"] for row in records}) == ITEMS
    assert {row["status"] for row in records} == {"done"} and {row["attempts"] for row in records} == {1}


def test_models_are_loaded_once_and_no_worker_waits_at_an_edge(
    tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    report = run(tmp_path, tiny_model)
    assert report.counts.done == report.generated == ITEMS
    check_ledger(report)
    assert [event["items"] for event in events_of(report, "window")] == [WINDOW] * 3
    loads = [event["kind"] for event in events_of(report, "worker_ready")]
    assert sorted(loads) == ["encoder", "generator", "generator"]

    order = [row["item_id"] for row in plan_rows(report)]
    windows = {item: number // WINDOW for number, item in enumerate(order)}
    begins: dict[int, float] = {}
    for event in events_of(report, "batch"):
        if event["kind"] == "generator":
            began = datetime.fromisoformat(event["at"]).timestamp() - event["seconds"]
            number = windows[event["first"]]
            begins[number] = min(began, begins.get(number, began))
    published: dict[int, float] = {}
    for table in Ledger(report.output).scan():
        for row in table.to_pylist():
            number, moment = windows[row["item_id"]], row["recorded_at"].timestamp()
            published[number] = max(moment, published.get(number, moment))
    for number in (0, 1):
        assert begins[number + 1] < published[number], (
            "a window begins before the last of the one before is there"
        )
    times = {event["kind"]: event for event in events_of(report, "times")}
    assert times["generator"]["batches"] == ITEMS / 2
    assert 0 < times["generator"]["busy_s"] <= times["generator"]["ready_s"]


def plan_rows(report: Report) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = jobs.outputs(report.output).to_pylist()
    return rows


def pids_of(name: str) -> list[int]:
    """Of this process's cluster, those that carry this name."""
    matches = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_text("utf-8", "replace"):
                matches.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in matches if is_ours(pid)]


def is_ours(pid: int) -> bool:
    """Whether this process is among the ancestors of that one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


@pytest.mark.parametrize("victim", ["GenerateWorker", "ReadPlanWindows", "WindowShelf"])
def test_a_process_that_is_lost_costs_no_item(
    victim: str, tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    """A generator comes back; a source task is tried again; without the shelf, a new pipeline runs what remains."""
    killed: list[float] = []

    def kill() -> None:
        wait_for(lambda: num_recorded(tmp_path) > 0)
        os.kill(pids_of(victim)[0], signal.SIGKILL)
        killed.append(time.time())

    killer = threading.Thread(target=kill)
    killer.start()
    report = run(tmp_path, tiny_model)
    killer.join()
    assert killed, f"no process named {victim}"
    assert report.counts.done == ITEMS
    check_ledger(report)
    lost = [event for event in events_of(report, "note") if "pipeline was lost" in event["text"]]
    last_window = datetime.fromisoformat(events_of(report, "window")[-1]["at"]).timestamp()
    # What is on the shelf no more is not lost with it.
    assert bool(lost) == (victim == "WindowShelf" and killed[0] < last_window)


def num_recorded(folder: Path) -> int:
    return sum(table.num_rows for table in Ledger(str(folder / "output")).scan())


def wait_for(reached: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_that_is_stopped_while_windows_wait_ends_soon_and_resumes(
    tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    moments: list[float] = []

    def stop() -> None:
        wait_for(lambda: num_recorded(tmp_path) >= 4)
        moments.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tiny_model)
    assert time.monotonic() - moments[0] < 60
    assert pids_of("GenerateWorker") == [], "its workers have ended"
    before = num_recorded(tmp_path)
    assert before < ITEMS
    again = run(tmp_path, tiny_model)
    assert again.counts.done == ITEMS and again.generated == ITEMS - before
    check_ledger(again)


def test_a_limit_of_items_ends_within_a_window_and_the_next_run_resumes(
    tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    report = run(tmp_path, tiny_model, limits={"max_items": WINDOW + 5})
    assert report.generated == WINDOW + 5 and "max_items" in str(report.stopped)
    assert [event["items"] for event in events_of(report, "window")] == [WINDOW, 5]
    again = run(tmp_path, tiny_model)
    assert again.generated == ITEMS - WINDOW - 5 and again.counts.done == ITEMS
    check_ledger(again)
