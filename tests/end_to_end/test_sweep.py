"""A sweep on the embedded model: image similarity rises and text similarity falls with image_scale (Supp fig. S5)."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from dreamcache.mini.catalog import write_sample_catalog
from tests.command import dreamcache

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SCALES = [0.0, 1.0, 3.0]


def test_a_sweep_on_the_embedded_model(tmp_path: Path) -> None:
    write_sample_catalog(tmp_path, 4)
    file = tmp_path / "eval.yaml"
    values = {
        "name": "sweep",
        "output": "out",
        "run": {
            "catalog": "catalog.csv",
            "prompts": ["a photo of a {class_name} on green grass", "a photo of a {class_name} in the snow"],
            "model": {"base": "mini"},
            "generation": {"text_scale": 3.0, "num_inference_steps": 8},
        },
        "metrics": {"clip": "mini", "dino": None, "segmenter": None},
        "sweep": {"combined": SCALES, "joint": [3.0], "within": 0.05, "sheet": 3},
    }
    file.write_text(yaml.safe_dump(values))
    done = dreamcache("evaluate", str(file), "--json")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    rows = pq.read_table(out / "sweep.parquet").to_pylist()
    assert [(row["guidance"], row["scale"]) for row in rows] == [
        *(("combined", scale) for scale in SCALES),
        ("joint", 3.0),
    ]
    image, text = ([row[name] for row in rows[:3]] for name in ("clip_i", "clip_t"))
    assert image[0] < image[1] < image[2], image
    assert text[2] < text[0], text
    chosen = json.loads(done.stdout)["chosen"]
    within = [row for row in rows if row["clip_t"] >= max(r["clip_t"] for r in rows) - 0.05]
    assert chosen == max(within, key=lambda row: row["clip_i"])["method"]
    assert [row["method"] for row in rows if row["chosen"]] == [chosen]
    report = (out / "report.md").read_text()
    for name in ("plots/sweep.svg", "plots/sweep-clip_i.svg", "sheet-combined.jpg", "sheet-joint.jpg"):
        assert f"({name})" in report and (out / name).stat().st_size > 1000
    with Image.open(out / "sheet-combined.jpg") as made:
        assert made.size == (4 * 131 + 3, 3 * (131 + 16) + 3 + 16)
    again = json.loads(dreamcache("evaluate", str(file), "--json").stdout)
    assert (again["scored"], again["chosen"]) == (0, chosen)
