"""Recipes: what a training file does not set comes from its recipe, and a posterior is sampled by position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from dreamcache.core.config.train import DataSettings, ReferenceSettings, TrainSettings
from dreamcache.core.config.train_recipes import PUBLISHED
from dreamcache.core.errors import SpecError
from jobs.train.spec import TrainSpec, dump_train_spec, parse_train_spec
from jobs.yaml_text import parse_yaml
from tests.train_samples import write_folder
from tests.training.trainers import MakeTrainer, copied


def parsed(**train: Any) -> TrainSpec:
    return parse_train_spec({"name": "t", "output": "out", "train": {"data": {"path": "data"}, **train}})


def test_the_published_recipe_by_file_and_in_python() -> None:
    spec = parsed(recipe="published")
    settings = spec.train
    assert settings == TrainSettings(data=DataSettings(path="data"), **PUBLISHED)
    assert (settings.transform.jitter, settings.transform.jitter_hue) == (0.2, 0.05)
    chosen = settings.optimizer
    assert (chosen.learning_rate, chosen.schedule, chosen.warmup_steps, chosen.ema) == (
        1e-5,
        "constant",
        0,
        0,
    )
    assert chosen.clip_norm == 0
    assert (settings.loss.drop_text, settings.loss.drop_image, settings.loss.drop_both) == (0.07, 0, 0)
    assert settings.posterior == "sample" and parsed().train.posterior == "mode"
    assert parse_train_spec(parse_yaml(dump_train_spec(spec).encode(), "dump")) == spec


def test_what_a_file_sets_goes_before_its_recipe() -> None:
    settings = parsed(recipe="published", optimizer={"ema": 0.5}, steps=3, posterior="mode").train
    assert (settings.optimizer.ema, settings.optimizer.schedule) == (0.5, "constant")
    assert (settings.steps, settings.posterior, settings.transform.jitter) == (3, "mode", 0.2)
    assert "recipe" not in settings.course(), "its values decide, not its name"


@pytest.mark.parametrize("name", ["publishd", ["published"], 3])
def test_an_unknown_recipe_is_refused(name: object) -> None:
    with pytest.raises(SpecError, match=r"train\.recipe"):
        parsed(recipe=name)


def test_features_of_a_sampled_posterior_are_not_cached() -> None:
    fixed = {"transform": {"flip_p": 0, "jitter_p": 0, "erase_p": 0}}
    with pytest.raises(SpecError, match="posterior: mode, got 'sample'"):
        parsed(**fixed, reference={"cache": "features", "noise": "fixed"}, posterior="sample")


def test_a_posterior_is_sampled_by_position(make: MakeTrainer) -> None:
    mode, sample = make(), make(posterior="sample")
    plain, sampled = default_collate([mode.items[5]]), default_collate([sample.items[5]])
    assert set(sampled) - set(plain) == {"posterior_noise"}
    for name, value in plain.items():
        same = (
            torch.equal(value, sampled[name]) if isinstance(value, torch.Tensor) else value == sampled[name]
        )
        assert same, f"{name} is as without a sampled posterior"
    batch = default_collate([sample.items[n] for n in range(2)])
    noise = batch["posterior_noise"]
    assert noise.shape == (2, 2, *batch["noise"].shape[1:]) and not torch.equal(noise[:, 0], noise[:, 1])
    posterior = sample.base.vae.encode(batch["pixels"]).latent_dist
    expected = (posterior.mean + posterior.std * noise[:, 0]) * sample.base.vae.config.scaling_factor
    assert torch.allclose(sample.loss._latents(batch["pixels"], noise[:, 0]), expected, atol=1e-6)
    assert not torch.allclose(sample.loss._latents(batch["pixels"]), expected, atol=1e-6)
    assert "posterior_noise" not in sample.validation[0], "the product takes the mode"


def test_a_sampled_posterior_changes_targets_and_references_and_nothing_is_random(make: MakeTrainer) -> None:
    rows = torch.arange(2)
    sample = make(posterior="sample", reference=ReferenceSettings(noise="fixed"))
    batch = default_collate([sample.items[n] for n in range(2)])
    without = {name: value for name, value in batch.items() if name != "posterior_noise"}
    read, plain = sample.loss.read(batch, rows), sample.loss.read(without, rows)  # type: ignore[arg-type]
    place = next(iter(read))
    assert not torch.allclose(read[place].keys, plain[place].keys)
    first, second = make(posterior="sample", steps=2), make(posterior="sample", steps=2)
    for trainer in (first, second):
        list(trainer.steps())
    assert all(torch.equal(value, copied(second)[name]) for name, value in copied(first).items())


def test_a_subset_of_more_than_there_is_is_refused(make: MakeTrainer, tmp_path: Path) -> None:
    path = str(write_folder(tmp_path / "data", 20))
    assert make(data=DataSettings(path=path, validation_samples=2, subset=18)).items.order.count == 18
    rule = r"^data\.subset: must be at most .* trained on, 18, got 19; .*data. holds 20, 2 of them held out: "
    with pytest.raises(SpecError, match=rule):
        make(data=DataSettings(path=path, validation_samples=2, subset=19))
