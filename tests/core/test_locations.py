"""What follows from the types of settings: anchoring, visibility from a cluster, credentials, for all four files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamcache.core.locations import Kind, anchor, is_local, settings_of
from jobs.evaluate.spec import load_eval_spec
from jobs.spec import load_spec
from jobs.synthesize.spec import load_synth_spec
from jobs.train.spec import load_train_spec

METRICS = {"clip": "enc/clip", "dino": None, "segmenter_models": {"sam": "seg/sam"}}
JOB: dict[str, Any] = {
    "name": "a",
    "catalog": "c.csv",
    "output": "out",
    "cache": "cache",
    "model": {"base": "sd", "adapter": "adapter"},
    "reference": {"segmenter_models": {"grounding-dino": "seg/dino", "sam": "owner/sam@1"}},
    "quality": {"min_text": 0.1, "metrics": METRICS},
}
RUN = {key: JOB[key] for key in ("catalog", "model", "reference", "quality")}
EVALUATION: dict[str, Any] = {
    "name": "a",
    "output": "out",
    "real": "real",
    "run": RUN,
    "metrics": METRICS,
    "methods": [
        {"name": "ours", "run": {"reference": {"segmenter_models": {"sam": "seg/sam"}}}},
        {"name": "done", "job": "other"},
        {"name": "theirs", "images": "pictures"},
    ],
}
SYNTHESIS: dict[str, Any] = {
    "name": "a",
    "output": "out",
    "captions": {"model": "llm"},
    "images": {"model": "sd"},
    "masks": {"segmenter_models": {"sam": "seg/sam"}},
}
TRAINING: dict[str, Any] = {
    "name": "a",
    "output": "out",
    "model": {"base": "sd", "adapter": "adapter"},
    "train": {
        "data": {"path": "data", "validation": "held-out"},
        "transform": {"flip_p": 0, "jitter_p": 0, "erase_p": 0},
        "reference": {"cache": "cache", "noise": "fixed"},
    },
}
LOCAL = {
    "job": {
        "catalog", "output", "cache", "model.base", "model.adapter", "reference.segmenter_models.grounding-dino",
        "quality.metrics.clip", "quality.metrics.segmenter_models.sam",
    },
    "evaluation": {
        "output", "real", "metrics.clip", "metrics.segmenter_models.sam", "methods.1.job", "methods.2.images",
        "methods.0.run.reference.segmenter_models.sam", "run.catalog", "run.model.base", "run.model.adapter",
        "run.reference.segmenter_models.grounding-dino", "run.quality.metrics.clip",
        "run.quality.metrics.segmenter_models.sam",
    },
    "synthesis": {"output", "captions.model", "images.model", "masks.segmenter_models.sam"},
    "training": {
        "output", "train.data.path", "train.data.validation", "train.reference.cache", "model.base", "model.adapter",
    },
}  # fmt: skip
FILES = {
    "job": (load_spec, JOB),
    "evaluation": (load_eval_spec, EVALUATION),
    "synthesis": (load_synth_spec, SYNTHESIS),
    "training": (load_train_spec, TRAINING),
}


def load(name: str, folder: Path) -> Any:
    for model in ("enc/clip", "seg/sam", "seg/dino", "sd", "llm"):
        (folder / model).mkdir(parents=True, exist_ok=True)
    reader, values = FILES[name]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return reader(path)


@pytest.mark.parametrize("name", FILES)
def test_every_local_path_begins_at_the_folder_of_its_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)  # the process is somewhere else
    settings = {setting.key: setting for setting in settings_of(load(name, folder))}
    local = {key for key, setting in settings.items() if setting.is_local}
    assert local == LOCAL[name]
    for key in local:
        assert settings[key].value.startswith(f"{folder}/"), key


def test_a_job_keeps_names_of_models_and_uris(tmp_path: Path) -> None:
    spec = load("job", tmp_path)
    assert spec.reference.segmenter_models["sam"] == "owner/sam@1"
    assert anchor("s3://bucket/x", tmp_path) == "s3://bucket/x"
    assert is_local("file:///x") and not is_local("s3://b/x")


def test_credentials_are_needed_by_any_setting_in_s3(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(JOB))
    assert not any(setting.needs_s3 for setting in settings_of(load_spec(tmp_path / "job.yaml")))
    for key in ("catalog", "output", "cache", "model.adapter"):
        spec = load_spec(tmp_path / "job.yaml", {key: "s3://bucket/x"})
        assert [setting.key for setting in settings_of(spec) if setting.needs_s3] == [key]


def test_what_is_written_is_marked(tmp_path: Path) -> None:
    written = {s.key for s in settings_of(load("job", tmp_path)) if s.kind is Kind.WRITTEN}
    assert written == {"output", "cache"}


def test_values_of_another_type_are_left_to_the_job_that_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.yaml"
    path.write_text(yaml.safe_dump({**EVALUATION, "run": {**RUN, "model": "sd", "catalog": 3}}))
    with pytest.raises(Exception, match=r"methods 'ours': run: catalog: .*valid string, got 3"):
        load_eval_spec(path)
