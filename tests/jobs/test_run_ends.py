"""How a run ends without a worker: blocked and unrunnable items, limits, exit codes, what status.json states."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.records import Blocked, Done, Failed
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.status import read_status
from jobs.output.folder import OutputFolder
from jobs.planning.planner import plan
from jobs.reconcile.remaining import find_work
from jobs.running.report import Report
from jobs.running.retry import chooser
from jobs.running.runner import run

MakeSpec = Callable[..., JobSpec]
MISSING = "subject_id,image\na,a.png\nb,b.png\nc,none.png\n"
"""The third product's photo is missing: its two items cannot run."""


def done(item_id: str) -> Done:
    return Done(
        item_id=item_id,
        key=f"images/{item_id[:2]}/{item_id}.png",
        pixel_sha256="0" * 64,
        width=8,
        height=8,
        num_bytes=1,
        seconds=1.0,
        device="cpu",
    )


def blocked(item_id: str) -> Blocked:
    return Blocked(item_id=item_id, code="low_quality", message="image score 0.1")


def failed(item_id: str) -> Failed:
    return Failed(item_id=item_id, code="bad_image", message="a.png: must be an image")


def record(spec: JobSpec, *outcomes: Callable[[str], Any]) -> None:
    """Records the plan's first items, the first as outcomes[0] says and so on."""
    OutputFolder(spec.output).claim(spec)
    items = plan(spec).table["item_id"].to_pylist()
    Ledger(spec.output).append([outcome(item) for outcome, item in zip(outcomes, items, strict=False)])


def finish(spec: JobSpec, **options: Any) -> Report:
    return run(spec, gallery=False, quiet=True, **options)


@pytest.mark.parametrize(
    ("outcome", "code"), [(done, 0), (blocked, 3), (failed, 3)], ids=["done", "blocked", "failed"]
)
def test_one_item_without_an_image_gives_exit_code_3(
    make_spec: MakeSpec, outcome: Callable[[str], Any], code: int
) -> None:
    spec = make_spec()
    record(spec, done, done, done, outcome)
    report = finish(spec)
    assert (report.exit_code, report.counts.total) == (code, 4)
    status = read_status(spec.output)
    assert status is not None and (status.state, status.exit_reason) == ("finished", None)
    assert status.details["plan_counts"]["done"] == report.counts.done


def test_failed_csv_holds_blocked_items_too(make_spec: MakeSpec) -> None:
    spec = make_spec()
    record(spec, done, blocked, failed, done)
    finish(spec)
    with Path(spec.output, "failed.csv").open(newline="") as file:
        assert [row["code"] for row in csv.DictReader(file)] == ["low_quality", "bad_image"]


@pytest.mark.parametrize(
    ("reasons", "statuses", "count"),
    [
        ([], [], 2),
        ([], ["blocked"], 1),
        ([], ["failed"], 1),
        (["low_quality"], [], 1),
        (["low_quality"], ["failed"], 0),
    ],
)
def test_a_retry_tries_blocked_and_failed_items(
    make_spec: MakeSpec, reasons: list[str], statuses: list[str], count: int
) -> None:
    spec = make_spec()
    record(spec, done, blocked, failed, done)
    job_plan, ledger = plan(spec), Ledger(spec.output)
    assert find_work(job_plan, ledger).num_pending == 0
    assert find_work(job_plan, ledger, chooser(reasons, statuses)).num_pending == count


def test_a_run_cut_short_by_a_limit_is_stopped(make_spec: MakeSpec) -> None:
    spec = make_spec(limits={"max_items": 2})
    record(spec, done, done)
    report = finish(spec)
    assert report.exit_code == 4 and report.stopped == "limits.max_items (2) is reached"
    assert (report.counts.pending, report.counts.done) == (2, 2)
    status = read_status(spec.output)
    assert status is not None and (status.state, status.exit_reason) == ("stopped", report.stopped)
    assert (status.total, status.done, status.remaining) == (4, 2, 2)


def test_a_limit_that_is_not_in_the_way_stops_nothing(make_spec: MakeSpec) -> None:
    spec = make_spec(limits={"max_items": 4})
    record(spec, done, done, done, done)
    assert finish(spec).exit_code == 0


def test_unrunnable_items_count_for_max_items(make_spec: MakeSpec) -> None:
    """Two records of the limit's four go to items that cannot run, two are there: none is left for a third image."""
    spec = make_spec(MISSING, limits={"max_items": 4})
    record(spec, done, done)
    report = finish(spec)
    assert report.exit_code == 4 and report.stopped is not None
    assert (report.counts.done, report.counts.failed, report.counts.pending) == (2, 2, 2)
    status = read_status(spec.output)
    assert status is not None
    assert (status.total, dict(status.counts), status.remaining) == (
        6,
        {"done": 2, "blocked": 0, "failed": 2},
        2,
    )
