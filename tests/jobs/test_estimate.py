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
from dreamcache.core.records import Failed
from jobs.planning import estimate as estimate_module
from jobs.planning.estimate import _count, estimate_plan
from jobs.planning.planner import plan
from jobs.spec import parse_spec
from tests.command import TWO_STEPS, in_process, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.tiny import save_base, save_random_adapter
from workers.context import request_of

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
    scales = 4 * (64 + 64 + 2 * 64 + 32)
    assert found.cache_bytes == 2 * (places + scales)
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


def test_a_products_photos_are_references_each(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each product has two photos, which a session reads at once: a reference is a photo."""
    folder = Path(values["catalog"]).parent
    rows = "".join(f"s{n},{folder}/p{n % 2}.png|{folder}/p{(n + 1) % 2}.png\n" for n in range(3))
    (tmp_path / "catalog.csv").write_text(f"subject_id,images\n{rows}")
    spec = parse_spec(
        {
            **values,
            "catalog": str(tmp_path / "catalog.csv"),
            "columns": {"images": "images"},
            "catalog_roots": [str(folder)],
        }
    )

    def four_seconds(action: Callable[[], object]) -> float:
        action()
        return 4.0

    monkeypatch.setattr(estimate_module, "_seconds", four_seconds)
    found = estimate_plan(plan(spec), 3)
    assert found.calibration is not None
    assert (found.references, found.calibration.encode_seconds) == (2, 2.0)


class Clock:
    """A generator that takes a second for each batch of one size that it fills up, two for wide images."""

    batch_size = 4

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def generate(self, batch: list[Any]) -> list[Failed]:
        self.now += sum(2 if wide else 1 for wide in {request.overrides for request in batch})
        return [Failed(item_id=request.item_id, code="x", message="") for request in batch]


def test_mixed_sizes_are_timed_in_batches_of_one_size(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [{"name": "wide", "prompt": "a wide {class_name}", "width": 32}]
    spec = parse_spec({**values, "samples": 4, "prompts": ["a {class_name}"], "scenes": scenes})
    rows = plan(spec).table.slice(0, 16).to_pylist()
    requests = [request_of(row) for row in (*rows[::2], *rows[1::2])]  # as a sample of a plan lies: mixed
    clock = Clock()
    monkeypatch.setattr(estimate_module, "time", clock)
    image_seconds, batches, _, _ = estimate_module._generate(spec, clock, requests, frozenset())  # type: ignore[arg-type]
    assert (image_seconds, batches) == ((1.5 / 4, 1.5 / 4), 4)


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
