"""Estimates: counts and bytes are exact, times are measured here or left out, and nothing of the job is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from dreamcache.core.config.job import JobSpec
from jobs.planning.estimate import _count, estimate_plan
from jobs.planning.planner import plan
from jobs.spec import parse_spec
from tests.command import TWO_STEPS, in_process, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.tiny import save_base, save_random_adapter

MakeSpec = Callable[..., JobSpec]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("estimate")
    base = save_base(folder / "base")
    model = {"base": str(base), "adapter": str(save_random_adapter(folder / "adapter", base))}
    rows = write_photos(folder, 3)
    rows[2] = {**rows[2], "image": "none.png"}
    workers = {"batch_size": 2, "generators": {"count": 2, "cpus": 1}}
    prompts = ["a {class_name} on sand", "a {class_name} in snow"]
    return {
        "name": "job", "catalog": write_catalog(folder, rows), "output": str(folder / "output"),
        "prompts": prompts, "model": model, "generation": TWO_STEPS, "workers": workers,
    }  # fmt: skip


def test_counts_and_bytes_are_exact(values: dict[str, Any]) -> None:
    """Of three subjects one has no photo; features are taken at the middle and four decoder places."""
    found = estimate_plan(plan(parse_spec(values)))
    assert (found.items, found.to_make, found.references) == (4, 4, 2)
    assert (found.encoder_halves, found.decoder_halves) == (4 * 2 * 2, 4 * 3 * 2)
    assert found.unet_evaluations == 4 * 2 * 2.5 + 2
    places = 64 * 2**2 + 64 * 4**2 + 2 * 64 * 8**2 + 32 * 16**2
    assert found.cache_bytes == 2 * 2 * places
    assert (found.output_bytes_by, found.eta_seconds) == ("guess", None)
    joint = estimate_plan(plan(parse_spec({**values, "generation": {**TWO_STEPS, "guidance": "joint"}})))
    assert (joint.encoder_halves, joint.decoder_halves) == (16, 16)


def test_a_few_items_are_timed_here(values: dict[str, Any]) -> None:
    made = plan(parse_spec(values))
    found = estimate_plan(made, 4, pending=2)
    measured = found.calibration
    assert measured is not None and found.eta_seconds is not None and found.cpu_hours is not None
    assert (measured.device, measured.items, measured.batches) == ("cpu", 4, 2)
    assert 0 < found.eta_seconds[0] < found.eta_seconds[1]
    # Two generators share two items; workers' CPUs are two and three quarters in all.
    assert found.eta_seconds[0] >= measured.image_seconds[0] + measured.load_seconds - 1e-6
    assert found.cpu_hours[0] == pytest.approx(2.75 * found.eta_seconds[0] / 3600)
    assert found.gpu_hours == (0, 0)
    assert found.output_bytes == int(4 * measured.image_bytes)
    assert not Path(values["output"]).exists() and not Path(values["output"] + "-cache").exists()


def test_a_cpu_says_nothing_of_gpus(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # also on a machine that has one
    spec = parse_spec({**values, "workers": {"batch_size": 1, "generators": {"gpus": 1}}})
    estimate = estimate_plan(plan(spec), 1)
    assert estimate.calibration is not None and estimate.calibration.device == "cpu"
    assert estimate.eta_seconds is None and "calibrate on such a GPU" in estimate.note


@pytest.mark.parametrize("wanted", [1, 3, 7])
@pytest.mark.parametrize("rows_per_table", [1, 4, 1000])
def test_sampled_items_are_spread_over_the_plan(wanted: int, rows_per_table: int) -> None:
    ids = list(range(100))
    whole = pa.table(
        {"item_id": ids, "code": pa.nulls(100, pa.string()), "cache_key": [f"{n // 10:064x}" for n in ids]}
    )
    tables = [whole.slice(start, rows_per_table) for start in range(0, 100, rows_per_table)]
    items, _, rows = _count(tables, wanted)
    found = [row["item_id"] for row in rows]
    assert (items, len(found), found == sorted(set(found))) == (100, wanted, True)
    assert wanted == 1 or found[-1] >= 50


def test_the_plan_reports_it(values: dict[str, Any], tmp_path: Path) -> None:
    job = write_job(tmp_path, **values)
    counts = json.loads(in_process("plan", job, "--json").stdout)["estimate"]
    assert (counts["items"], counts["calibration"]) == (4, None)
    shown = in_process("plan", job, "--calibrate", "2")
    assert shown.returncode == 0, shown.stderr
    assert "4 items, 22 U-Net evaluations (16 encoder and 24 decoder halves" in shown.stdout
    assert "measured in this process on cpu, 2 items in 1 batches" in shown.stdout
    assert "nothing was recorded" in shown.stdout and "for 4 items with the declared workers" in shown.stdout
