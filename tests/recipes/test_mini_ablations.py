"""Every ready ablation file is accepted whole: its trainings, its evaluation and the jobs of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.ablate.spec import load_ablate_spec
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


def test_the_published_recipe_is_a_training_file() -> None:
    spec = load_train_spec(FOLDER.parents[1] / "sd21" / "train.yaml").train
    assert (spec.optimizer.learning_rate, spec.optimizer.schedule, spec.optimizer.ema) == (
        1e-5,
        "constant",
        0,
    )
    assert (spec.loss.drop_text, spec.loss.drop_image, spec.loss.drop_both) == (0.07, 0, 0)
    assert (spec.transform.jitter, spec.transform.jitter_hue, spec.steps) == (0.2, 0.05, 200_000)
