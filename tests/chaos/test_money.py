"""A job with a limit of money whose driver is killed: what it spends in all exceeds the limit by one batch at most."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.command import dreamcache, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.end_to_end.processes import running

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

CPUS = 1.5
"""Of one encoder and one generator, as declared: a second of both costs 1.5 at a price of 3600 an hour."""
LIMIT_S = 90.0
"""Of both workers, over all runs: enough for a start, a kill, and another start."""


def events(output: Path) -> list[dict[str, Any]]:
    """Of all runs, oldest first."""
    rows = [
        row for path in sorted(output.glob("events/**/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    return sorted(rows, key=lambda row: str(row.get("at")))


def status(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "status.json").read_text())
    return found


def test_a_killed_driver_and_its_successors_overspend_by_one_batch_at_most(
    tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    job = write_job(
        tmp_path,
        catalog=write_catalog(tmp_path, write_photos(tmp_path, 6)),
        output="output",
        prompts=["a {class_name} on sand"],
        samples=400,
        model=tiny_model,
        generation={"num_inference_steps": 24},
        workers={"batch_size": 2},
        price={"cpu_hour": 3600, "currency": "EUR"},
        limits={"max_cost": LIMIT_S * CPUS},
    )
    output = tmp_path / "output"
    up_s = 0.0
    with running("run", job, extra={}, log=tmp_path / "log") as command:
        assert command.wait_until(lambda: (output / "spending.json").exists()), command.log.read_text()
        assert command.wait_until(lambda: len(list(output.glob("images/*/*.png"))) >= 4), (
            command.log.read_text()
        )
        began = (output / "spending.json").stat().st_ctime
        command.end(signal.SIGKILL)
        killed_at = time.time()
    started = json.loads((output / "spending.json").read_text())
    # Both workers were up for no longer than since the driver began, and the reservation covers what they cost.
    assert started["reserved"] >= started["spent"] > 0
    spent_before = started["reserved"]
    up_s += killed_at - began

    runs = 0
    while runs < 5:
        begun = time.time()
        again = dreamcache("run", job, "--json", "--quiet")
        runs += 1
        up_s += time.time() - begun
        assert again.returncode == 4, again.stderr
        report = json.loads(again.stdout)
        assert report["stopped"].startswith("limits.max_cost (135 EUR) is reached")
        if report["generated"] == 0:
            break
    spent = status(output)["details"]["spent"]["cost"]
    assert spent >= spent_before, "a kill must not make money free"
    seconds = [
        row["seconds"] for row in pq.read_table(output / "manifest.parquet").to_pylist() if row["seconds"]
    ]
    batch = max(seconds) * 2 * CPUS
    print(f"limit {LIMIT_S * CPUS}, spent {spent:.2f}, batch {batch:.2f}, {len(seconds)} images, {runs} runs")
    assert spent <= LIMIT_S * CPUS + batch
    summary = json.loads((output / "manifest.json").read_text())
    assert summary["cost"]["currency"] == "EUR" and summary["cost"]["per_image"] > 0
    assert summary["counts"]["pending"] > 0
    shown = dreamcache("status", job)
    assert "EUR an image" in shown.stdout
