"""Every ready ablation file is accepted whole: its trainings, its evaluation and the jobs of it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from dreamcache.core.errors import SpecError
from jobs.ablate.spec import load_ablate_spec, parse_ablate_spec
from jobs.train.spec import load_train_spec

FOLDER = Path(__file__).parents[2] / "recipes" / "mini" / "ablations"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_ready_file_is_accepted(file: Path) -> None:
    spec = load_ablate_spec(file)
    assert len(spec.seeds) >= 3 and len(spec.variants) >= 2
    courses = {tuple(map(str, spec.training_of(arm).train.course().items())) for arm in spec.arms()}
    assert len(courses) == len(spec.arms()), "two arms would be the same training"
    assert len(spec.evaluation_of().methods) == len(spec.arms()) + 1


def test_there_is_a_file_for_each_of_the_papers_ablations() -> None:
    assert len(FILES) == 9  # with the overview of all but S2 and S3


CONTINUED = {
    "name": "x",
    "output": "/out",
    "training": {
        "model": {"base": "mini", "adapter": "/start"},
        "train": {"data": {"path": "/samples"}, "reference": {"timestep": 300}},
    },
    "variants": [{"name": "a"}, {"name": "b", "train": {"steps": 10}}],
    "evaluation": {
        "run": {"catalog": "/c.csv", "prompts": ["a {class_name}"]},
        "metrics": {"clip": "mini", "dino": None, "segmenter": None},
    },
}


def test_an_adapter_that_is_continued_is_judged_as_those_trained_from_it() -> None:
    """It may recommend scales of its own, which the exported ones do not have."""
    evaluation = parse_ablate_spec(CONTINUED).evaluation_of()
    jobs = [evaluation.job_of(method) for method in evaluation.methods]
    assert {(job.generation.text_scale, job.generation.image_scale) for job in jobs} == {(7.5, 0.4)}
    assert {job.reference.timestep for job in jobs} == {300}
    assert jobs[-1].model.adapter == "/start"


@pytest.mark.parametrize("where", ["training", "variants"])
def test_the_seed_is_the_ablations(where: str) -> None:
    values = copy.deepcopy(CONTINUED)
    group = values["training"] if where == "training" else values["variants"][1]  # type: ignore[index]
    group["train"]["seed"] = 7  # type: ignore[index]
    with pytest.raises(SpecError, match=r"'train\.seed' is set by the ablation"):
        parse_ablate_spec(values).evaluation_of()


def test_paths_of_a_variants_job_are_relative_to_the_file(tmp_path: Path) -> None:
    values = copy.deepcopy(CONTINUED)
    values["variants"][1]["run"] = {"cache": "features"}  # type: ignore[index]
    (tmp_path / "ablate.yaml").write_text(yaml.safe_dump(values))
    assert load_ablate_spec(tmp_path / "ablate.yaml").variants[1].run["cache"] == str(tmp_path / "features")


def test_the_published_recipe_is_a_training_file() -> None:
    spec = load_train_spec(FOLDER.parents[1] / "sd21" / "train.yaml").train
    assert (spec.optimizer.learning_rate, spec.optimizer.schedule, spec.optimizer.ema) == (
        1e-5,
        "constant",
        0,
    )
    assert (spec.loss.drop_text, spec.loss.drop_image, spec.loss.drop_both) == (0.07, 0, 0)
    assert (spec.transform.jitter, spec.transform.jitter_hue, spec.steps) == (0.2, 0.05, 200_000)
