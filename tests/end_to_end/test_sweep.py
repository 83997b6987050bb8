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

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(1500),
]

TEXT_SCALE = 3.0
COMBINED = [0.0, 1.0]
JOINT = [TEXT_SCALE]
"""With equal weights combined guidance is joint guidance: this is `combined 3`, the third point of the curve."""


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
            "generation": {"text_scale": TEXT_SCALE, "num_inference_steps": 8},
        },
        "metrics": {"clip": "mini", "dino": None, "segmenter": "grabcut"},
        "sweep": {
            "combined": COMBINED,
            "joint": JOINT,
            "image_metric": "mclip_i",
            "within": 0.05,
            "sheet": 3,
        },
    }
    file.write_text(yaml.safe_dump(values))
    done = dreamcache("evaluate", str(file), "--json", seconds=1200)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    rows = pq.read_table(out / "sweep.parquet").to_pylist()
    assert [(row["guidance"], row["scale"]) for row in rows] == [
        ("combined", 0),
        ("combined", 1),
        ("joint", 3),
    ]
    image, text = ([row[name] for row in rows] for name in ("mclip_i", "clip_t"))
    assert image[0] < image[1] < image[2], image
    assert text[2] < text[0], text
    chosen = json.loads(done.stdout)["chosen"]
    within = [row for row in rows if row["clip_t"] >= max(r["clip_t"] for r in rows) - 0.05]
    assert chosen == max(within, key=lambda row: row["mclip_i"])["method"]
    assert [row["method"] for row in rows if row["chosen"]] == [chosen]
    status = json.loads(dreamcache("status", str(out), "--json").stdout)
    assert (status["kind"], status["state"], status["remaining"]) == ("evaluation", "finished", 0)
    report = (out / "report.md").read_text()
    for name in ("plots/sweep.svg", "plots/sweep-mclip_i.svg", "sheet-combined.jpg", "sheet-joint.jpg"):
        assert f"({name})" in report and (out / name).stat().st_size > 1000
    with Image.open(out / "sheet-combined.jpg") as made:
        assert made.size == (3 * 131 + 3, 3 * (131 + 16) + 3 + 16)
    again = json.loads(dreamcache("evaluate", str(file), "--json").stdout)
    assert (again["scored"], again["chosen"]) == (0, chosen)
