"""A job on FLUX.2 klein with one to three photos a product, killed with SIGKILL in the middle: resuming it is exact."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import jobs
from dreamcache.inference.outcome import Generated
from dreamcache.inference.session import local_session
from jobs.planning.planner import plan
from jobs.spec import load_spec
from tests.command import dreamcache
from tests.end_to_end.processes import RAY_AGENTS, running
from tests.families.klein import photo, save_klein
from workers.context import request_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SUBJECTS, PROMPTS, SAMPLES = 6, 10, 2
ITEMS = SUBJECTS * PROMPTS * SAMPLES


def write_job(folder: Path) -> str:
    save_klein(folder / "klein")
    rows = ["subject_id,photos"]
    for number in range(SUBJECTS):
        names = [f"{number}-{view}.png" for view in range(1 + number % 3)]
        for view, name in enumerate(names):
            photo(10 * number + view, (64, 64 + 32 * view)).save(folder / name)
        rows.append(f"mug{number},{'|'.join(names)}")
    (folder / "c.csv").write_text("\n".join(rows) + "\n")
    values: dict[str, Any] = {
        "name": "klein",
        "catalog": "c.csv",
        "output": "output",
        "columns": {"images": "photos"},
        "prompts": [f"a mug in scene {number}" for number in range(PROMPTS)],
        "samples": SAMPLES,
        "model": {"base": "klein"},
        "workers": {"batch_size": 4},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(values))
    return str(folder / "job.yaml")


def test_a_killed_job_resumes_to_the_images_of_an_undisturbed_one(tmp_path: Path) -> None:
    job, output = write_job(tmp_path), tmp_path / "output"
    with running("run", job, extra={}, log=tmp_path / "log") as command:
        recorded = command.wait_until(lambda: len(list(output.glob("ledger/*.parquet"))) >= 2)
        assert recorded, command.log.read_text()
        assert command.end(signal.SIGKILL) == -signal.SIGKILL
        command.wait_alone(30, but=RAY_AGENTS)
    before = {path: path.stat().st_mtime_ns for path in output.glob("images/*/*.png")}
    assert 0 < len(before) < ITEMS and not (output / "manifest.json").exists()

    done = dreamcache("run", job, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["total"], report["done"], report["failed"]) == (ITEMS, ITEMS, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "no committed image is written again"
    rows = jobs.outputs(str(output)).to_pylist()
    assert len({row["item_id"] for row in rows}) == ITEMS

    calm = plan(load_spec(job))
    with local_session(calm.spec, calm.facts) as session:
        outcomes = session.generator().generate([request_of(row) for row in calm.table.to_pylist()])
    pixels = {outcome.item_id: outcome.rgb for outcome in outcomes if isinstance(outcome, Generated)}
    assert len(pixels) == ITEMS
    for row in rows:
        assert np.array_equal(np.asarray(Image.open(row["uri"])), pixels[row["item_id"]]), row["item_id"]
