"""An ablation on the embedded model whose driver is killed: the same command trains the rest and writes the table."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from dreamcache.mini.catalog import write_sample_catalog
from recipes.mini.dataset import write_training_data
from tests.command import dreamcache
from tests.end_to_end.processes import RAY_AGENTS, running

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(1800),
]

STEPS = 2
ABLATION: dict[str, Any] = {
    "name": "timesteps",
    "output": "out",
    "training": {
        "model": {"base": "mini"},
        "hooks": [],
        "train": {
            "data": {"path": "samples", "validation_samples": 2},
            "optimizer": {"learning_rate": 0.001, "warmup_steps": 0, "ema": 0.0},
            "every": {"log": 1, "checkpoint": 1, "validate": 2, "levels": [500]},
            "steps": STEPS,
            "global_batch": 4,
            "micro_batch": 4,
            "precision": "float32",
        },
    },
    "seeds": [0, 1],
    "variants": [
        {"name": "t=1", "published": {"clip_i": 0.810, "clip_t": 0.298}},
        {"name": "t=300", "train": {"reference": {"timestep": 300}}, "published": {"clip_i": 0.789}},
    ],
    "evaluation": {
        "run": {
            "catalog": "catalog.csv",
            "prompts": ["a photo of a {class_name} on green grass"],
            "generation": {"num_inference_steps": 2, "text_scale": 3.0},
        },
        "metrics": {"clip": "mini", "dino": None, "segmenter": "grabcut", "segment_size": 64},
        "bootstrap": {"resamples": 200},
    },
}


def test_kill_9_of_the_driver_between_two_trainings(tmp_path: Path) -> None:
    write_training_data(tmp_path / "samples", 20)
    write_sample_catalog(tmp_path, 3)
    file, out = tmp_path / "ablate.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(ABLATION))
    first = out / "trainings" / "t-1-seed0"

    with running("ablate", str(file), extra={}, log=tmp_path / "log") as driver:
        second = out / "trainings" / "t-1-seed1" / "train.yaml"
        assert driver.wait_until(second.exists), driver.log.read_text()
        assert driver.end(signal.SIGKILL) == -signal.SIGKILL
        driver.wait_alone(60, but=RAY_AGENTS)
    assert not (out / "report.json").exists()
    adapter = (first / "adapter" / "adapter.safetensors").read_bytes()
    before = (first / "status.json").stat().st_mtime_ns

    done = dreamcache("ablate", str(file), "--json", seconds=1200)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["trained"] == 3, "the first training was finished"
    assert (first / "adapter" / "adapter.safetensors").read_bytes() == adapter
    assert (first / "status.json").stat().st_mtime_ns == before
    assert [row["variant"] for row in report["variants"]] == ["t=1", "t=300", "untrained"]

    rows = pq.read_table(out / "table.parquet").to_pylist()
    assert [row["steps"] for row in rows] == [[STEPS, STEPS], [STEPS, STEPS], []]
    assert rows[0]["parameters"] == rows[1]["parameters"] > 10_000 and rows[2]["parameters"] is None
    assert [row["num_images"] for row in rows] == [6, 6, 3]
    assert all(row["clip_i_low"] <= row["clip_i"] <= row["clip_i_high"] for row in rows)
    assert rows[1]["clip_i_to_baseline"] is not None and rows[0]["clip_i_verdict"] is None
    text = (out / "report.md").read_text()
    for part in ("difference to the baseline", "t=300 - t=1", "Published", "0.789", "plots/clip_i.svg"):
        assert part in text
    status = json.loads(dreamcache("status", str(out), "--json").stdout)
    assert (status["kind"], status["state"]) == ("ablation", "finished")
    again = json.loads(dreamcache("ablate", str(file), "--json").stdout)
    assert again["trained"] == 0 and again["variants"] == report["variants"]
