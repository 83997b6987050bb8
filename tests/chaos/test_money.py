"""A job with a limit of money whose driver is killed: what it spends in all exceeds the limit by one batch at most."""

from __future__ import annotations

import json
import signal
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
BATCH_SIZE = 2


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def longest(output: Path) -> float:
    """Seconds of the slowest image."""
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    return max(row["seconds"] for row in rows if row["seconds"])


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
        workers={"batch_size": BATCH_SIZE},
        price={"cpu_hour": 3600, "currency": "EUR"},
        limits={"max_cost": LIMIT_S * CPUS},
    )
    output = tmp_path / "output"
    with running("run", job, extra={}, log=tmp_path / "log") as command:
        assert command.wait_until(lambda: len(list(output.glob("images/*/*.png"))) >= 2 * BATCH_SIZE), (
            command.log.read_text()
        )
        command.end(signal.SIGKILL)
    before = read(output / "spending.json")
    for _ in range(4):
        again = dreamcache("run", job, "--json", "--quiet")
        assert again.returncode == 4, again.stderr
        # Behind lines of Ray's about the workers that the run ends.
        report = json.loads(again.stdout)
        assert report["stopped"].startswith("limits.max_cost (135 EUR) is reached")
        if report["generated"] == 0:
            break
    spent = read(output / "status.json")["details"]["spent"]["cost"]
    assert spent >= before["reserved"], "a kill must not make money free"
    batch = longest(output) * BATCH_SIZE * CPUS
    print(
        f"limit {LIMIT_S * CPUS}, reserved at the kill {before['reserved']:.2f}, spent {spent:.2f}, batch {batch:.2f}"
    )
    assert spent <= LIMIT_S * CPUS + batch
    assert read(output / "manifest.json")["cost"]["per_image"] > 0
    assert "EUR an image" in dreamcache("status", job).stdout
