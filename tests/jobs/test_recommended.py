"""Scales that a job does not set are those its adapter recommends: in its plan, its ids and the job.yaml it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import jobs
from dreamcache.core.config import GenerationSettings
from jobs.planning.planner import Plan
from jobs.spec import dump_spec
from tests.command import in_process
from tests.end_to_end.photos import write_catalog, write_photos
from tests.pinned.sd_folder import write_adapter, write_base


def plan(folder: Path, model: dict[str, Any], **generation: Any) -> Plan:
    values = {
        "name": "scales",
        "catalog": write_catalog(folder, write_photos(folder, 1)),
        "output": str(folder.parent / "output"),
        "prompts": ["a mug"],
        "model": model,
        "generation": generation,
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(values))
    return jobs.plan(jobs.load_spec(folder / "job.yaml"))


def ids(made: Plan) -> list[str]:
    names: list[str] = made.table["item_id"].to_pylist()
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def test_of_the_embedded_model(folder: Path) -> None:
    mini = {"base": "mini"}
    unset = plan(folder, mini, num_inference_steps=4)
    assert unset.spec.generation == GenerationSettings(num_inference_steps=4, text_scale=3.0, image_scale=3.5)
    assert ids(unset) == ids(plan(folder, mini, num_inference_steps=4, text_scale=3, image_scale=3.5))
    assert ids(unset) != ids(plan(folder, mini, num_inference_steps=4, text_scale=7.5, image_scale=0.4))
    one = plan(folder, mini, image_scale=1.0).spec.generation
    assert (one.text_scale, one.image_scale) == (3.0, 1.0)
    kept = yaml.safe_load(dump_spec(unset.spec))["generation"]
    assert (kept["text_scale"], kept["image_scale"]) == (3.0, 3.5)


def test_of_an_adapter_that_recommends_nothing(folder: Path, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    model = {"base": str(base), "adapter": str(write_adapter(tmp_path / "adapter", base))}
    unset = plan(folder, model)
    assert (unset.spec.generation.text_scale, unset.spec.generation.image_scale) == (7.5, 0.4)
    assert ids(unset) == ids(plan(folder, model, text_scale=7.5, image_scale=0.4))


@pytest.mark.slow
def test_the_command_writes_what_show_and_jobs_read(folder: Path, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", base)
    config = json.loads((adapter / "config.json").read_text())
    (adapter / "config.json").write_text(json.dumps({**config, "parameters": 4}))
    model = {"base": str(base), "adapter": str(adapter)}
    before = plan(folder, model, text_scale=7.5, image_scale=0.4)
    for option, scale in (("--text-scale", "5"), ("--image-scale", "0.6")):
        done = in_process("adapter", "recommend", str(adapter), option, scale)
        assert done.returncode == 0, done.stderr
    assert "recommended text_scale 5, image_scale 0.6" in done.stdout
    assert "recommended: text_scale 5, image_scale 0.6" in in_process("adapter", "show", str(adapter)).stdout
    unset = plan(folder, model).spec.generation
    assert (unset.text_scale, unset.image_scale) == (5.0, 0.6)
    assert ids(plan(folder, model, text_scale=7.5, image_scale=0.4)) == ids(before)
    wrong = in_process("adapter", "recommend", str(adapter))
    assert wrong.returncode != 0 and "must have --text-scale, --image-scale or both" in wrong.stderr
    gone = in_process("adapter", "recommend", str(tmp_path / "gone"), "--text-scale", "5")
    assert gone.returncode != 0 and "must hold a readable config.json" in gone.stderr
