"""Jobs that are asked to stop: by SIGTERM, by a budget, or one worker of them. The output is valid; the job resumes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.command import dreamcache, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.end_to_end.processes import Running, running

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ITEMS = 12
BATCH_SIZE = 2
LOADING_S = 2.0
"""A new worker needs longer than this to import torch, so what is committed until then is of the old one."""


@pytest.fixture
def job(tmp_path: Path, tiny_model: dict[str, str]) -> str:
    """Slow enough that a moment between two commits can be met."""
    return write_job(
        tmp_path,
        catalog=write_catalog(tmp_path, write_photos(tmp_path, ITEMS // 2)),
        output="output",
        prompts=["a {class_name} on sand", "a {class_name} in snow"],
        model=tiny_model,
        generation={"num_inference_steps": 24},
        workers={"batch_size": BATCH_SIZE},
    )


def images(job: str) -> list[Path]:
    return list(Path(job).parent.glob("output/images/*/*.png"))


def records(job: str) -> list[Path]:
    """Parts of the ledger. An image is written before its record."""
    return list(Path(job).parent.glob("output/ledger/part-*"))


def manifest(job: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """manifest.json's counts and manifest.parquet's rows; every image that a row names is there."""
    output = Path(job).parent / "output"
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    assert all((output / row["key"]).is_file() for row in rows if row["status"] == "done")
    counts: dict[str, Any] = json.loads((output / "manifest.json").read_text())["counts"]
    assert len(rows) == ITEMS == counts["total"] if "total" in counts else len(rows) == ITEMS
    return counts, rows


def state(job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(job).parent / "output" / "status.json").read_text())
    return found


def test_sigterm_leaves_a_valid_manifest_and_the_same_command_resumes(job: str, tmp_path: Path) -> None:
    with running("run", job, extra={}, log=tmp_path / "log") as command:
        assert command.wait_until(lambda: bool(records(job))), command.log.read_text()
        assert command.end(signal.SIGTERM) == 130, command.log.read_text()
        command.wait_alone(90)
        said = command.log.read_text()
    assert said.splitlines()[-1] == "stopped; the same command resumes from here"
    assert "Traceback" not in said
    counts, _ = manifest(job)
    assert counts["pending"] > 0 and counts["done"] > 0
    assert state(job)["state"] == "stopped"
    before = {path: path.stat().st_mtime_ns for path in images(job)}
    assert dreamcache("run", job).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {row["status"] for row in manifest(job)[1]} == {"done"}


def test_a_budget_stops_cleanly_and_a_higher_one_resumes(job: str) -> None:
    first = dreamcache("run", job, "--json", "--set", "limits.max_items=4")
    assert first.returncode == 4, first.stderr
    assert json.loads(first.stdout)["generated"] == 4
    assert "max_items" in json.loads(first.stdout)["stopped"]
    assert manifest(job)[0]["pending"] == ITEMS - 4 and state(job)["state"] == "stopped"
    again = dreamcache("run", job, "--json", "--set", "limits.max_items=4")
    assert (again.returncode, json.loads(again.stdout)["generated"]) == (4, 0)
    hours = dreamcache("run", job, "--json", "--set", "limits.max_hours=0.000001")
    assert (hours.returncode, json.loads(hours.stdout)["generated"]) == (4, 0)
    done = dreamcache("run", job, "--json", "--set", f"limits.max_items={ITEMS}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["generated"] == ITEMS - 4


@pytest.mark.parametrize("overlap", ["off", "on"])
def test_sigterm_of_a_worker_commits_the_batch_in_flight_and_costs_no_attempt(
    job: str, tmp_path: Path, overlap: str
) -> None:
    settings = ("--set", f"workers.overlap_decoding={overlap}")
    with running("run", job, *settings, extra={}, log=tmp_path / "log") as command:
        # From the third batch on the publisher is idle between batches, so the next batch is in flight at a commit.
        assert command.wait_until(lambda: len(images(job)) >= 3 * BATCH_SIZE), command.log.read_text()
        committed, before = images(job), generators(command)
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        assert command.wait_until(lambda: bool(set(generators(command)) - set(before)))
        started = time.time()
        assert command.process.wait(timeout=300) == 0, command.log.read_text()
    by_the_old = [path for path in images(job) if path.stat().st_mtime <= started + LOADING_S]
    assert len(committed) + BATCH_SIZE <= len(by_the_old) < ITEMS, "the batch in flight was not finished"
    rows = manifest(job)[1]
    assert {(row["status"], row["attempts"]) for row in rows} == {("done", 1)}


def generators(command: Running) -> list[int]:
    return [pid for pid, name in command.left().items() if "GenerateWorker" in name]
