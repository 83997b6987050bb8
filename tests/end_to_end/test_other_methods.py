"""Methods of diffusers' own through the Ray job on tiny models of the real classes, over one catalog, in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from jobs.output.replay import replay
from tests.command import TWO_STEPS, dreamcache
from tests.end_to_end.photos import write_catalog, write_photos
from tests.evaluation.encoders import save_clip
from tests.families.models import save_blip, save_ip_adapter

SUBJECTS = 2
PROMPTS = ["a {class_name} on sand", "a {class_name} in snow"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_each_method_generates_the_same_catalog(tiny_model: dict[str, str], tmp_path: Path) -> None:
    base = tiny_model["base"]
    methods = {
        "IP-Adapter": {
            "method": "ip-adapter",
            "model": {"base": base, "adapter": save_ip_adapter(tmp_path / "ip-adapter", base)},
        },
        "BLIP-Diffusion": {
            "method": "blip-diffusion",
            "model": {"base": save_blip(tmp_path / "blip", base)},
        },
    }
    values: dict[str, Any] = {
        "name": "compared",
        "output": str(tmp_path / "output"),
        "run": {
            "catalog": write_catalog(tmp_path, write_photos(tmp_path, SUBJECTS)),
            "prompts": PROMPTS,
            "generation": TWO_STEPS,
            "workers": {"batch_size": 3},
        },
        "methods": [{"name": name, "run": run} for name, run in methods.items()],
        "metrics": {"clip": str(save_clip(tmp_path / "clip")), "dino": None, "segmenter": None},
    }
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(values))
    done = dreamcache("evaluate", str(tmp_path / "eval.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["num_scored"] for row in report["methods"]] == [SUBJECTS * len(PROMPTS)] * len(methods)
    for name in methods:
        output = tmp_path / "output/jobs" / name.lower()
        rows = pq.read_table(output / "manifest.parquet").to_pylist()
        assert [row["status"] for row in rows] == ["done"] * (SUBJECTS * len(PROMPTS))
        assert len({(output / row["key"]).read_bytes() for row in rows}) == len(rows)
        for row in (rows[0], rows[-1]):  # of a full batch, and of one that was filled up
            assert replay(str(output), row["item_id"]).max_difference == 0
