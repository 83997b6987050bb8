"""The evaluation file: local paths in it, also those inside `run`, are relative to its folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from jobs.evaluate.spec import load_eval_spec


def test_models_beside_the_file_are_found(tmp_path: Path) -> None:
    """Base, adapter and encoders, of the evaluation's own metrics and of the jobs' quality gate."""
    for name in ("base", "clip"):
        (tmp_path / name).mkdir()
    run = {
        "catalog": "photos.csv",
        "prompts": ["a {class} in snow"],
        "model": {"base": "base", "adapter": "own"},
        "quality": {"min_image": 0.5, "metrics": {"clip": "clip", "dino": "owner/name"}},
    }
    values = {
        "name": "x",
        "output": "out",
        "run": run,
        "metrics": {"clip": "clip", "dino": None},
        "methods": [{"name": "ours"}],
    }
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(values))

    spec = load_eval_spec(tmp_path / "eval.yaml")

    assert spec.metrics.clip == str(tmp_path / "clip")
    assert spec.run["catalog"] == str(tmp_path / "photos.csv")
    assert spec.run["model"] == {"base": str(tmp_path / "base"), "adapter": str(tmp_path / "own")}
    assert spec.run["quality"]["metrics"] == {"clip": str(tmp_path / "clip"), "dino": "owner/name"}
