"""Checkpoints: an interruption leaves no trace, and another training's are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamcache.core.config.train import (
    DataSettings,
    LossSettings,
    OptimizerSettings,
    ReferenceSettings,
    TrainSettings,
)
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.model.adapter_io import save_adapter
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.training.checkpoints import Checkpoint, TrainFolder
from dreamcache.training.loop import TrainLoop
from dreamcache.training.trainer import Trainer
from tests.train_samples import write_folder, write_tars
from tests.training.trainers import MakeTrainer, copied


def test_resuming_equals_never_having_stopped(make: MakeTrainer, tmp_path: Path) -> None:
    options: dict[str, Any] = {"loss": LossSettings(drop_text=0.2, drop_image=0.2, drop_both=0.1)}
    whole, halves = TrainFolder(str(tmp_path / "whole")), TrainFolder(str(tmp_path / "halves"))
    straight = make(**options)
    TrainLoop(straight, whole, name="t").run()
    stopped = TrainLoop(make(**options), halves, name="t")
    steps = stopped.trainer.steps()
    for made in (next(steps) for _ in range(3)):
        stopped._log(made, [made.loss])
    stopped._save()
    next(steps)  # a step that no checkpoint saw, while the one before is being written
    stopped.checkpoints.wait()
    resumed = TrainLoop(make(**options), halves, name="t")
    assert resumed.trainer.step == 3
    resumed.run()
    for name, value in copied(straight).items():
        assert torch.equal(value, resumed.trainer.checkpoint().tensors[name]), name
    curves = [
        json.loads((tmp_path / part / "curves.json").read_text())["train"] for part in ("whole", "halves")
    ]
    assert curves[0] == curves[1] and [point["step"] for point in curves[0]] == [1, 2, 3, 4, 5, 6]
    options["optimizer"] = OptimizerSettings(learning_rate=0.5, warmup_steps=0, ema=0.5)
    with pytest.raises(ModelError, match=r"optimizer\.learning_rate was 0\.002, is 0\.5") as other:
        TrainLoop(make(**options), halves, name="t")
    assert other.value.code == "other_training"


def test_checkpoints_of_an_older_release_are_resumed(tmp_path: Path) -> None:
    """A setting that did not exist then counts as its default."""
    folder, course = TrainFolder(str(tmp_path)), TrainSettings(data=DataSettings(path="")).course()
    old = {name: value for name, value in course.items() if name != "reference.integration"}
    folder.save(Checkpoint(step=1, tensors={"a": torch.zeros(1)}), old, keep=1)
    assert folder.newest(course, course) is not None
    with pytest.raises(ModelError, match=r"reference\.integration was 'spatial_concat', is 'decoupled'"):
        folder.newest({**course, "reference.integration": "decoupled"}, course)


def test_another_start_is_another_training(make: MakeTrainer, tmp_path: Path) -> None:
    new = make()
    folders = [str(tmp_path / name) for name in ("one", "moved", "other")]
    for step, folder in zip((5, 5, 6), folders, strict=True):
        save_adapter(new.adapter, folder, base=new.info, step=step)
    one, moved, other = (
        Trainer(new.base, new.info, new.settings, start=describe_adapter(folder, new.info))
        for folder in folders
    )
    output = TrainFolder(str(tmp_path / "training"))
    loop = TrainLoop(one, output, name="t")
    loop._save()
    loop.checkpoints.wait()
    TrainLoop(moved, output, name="t")
    for trainer in (other, new):
        with pytest.raises(ModelError, match=r"model\.adapter was '[0-9a-f]{64}', is ") as error:
            TrainLoop(trainer, output, name="t")
        assert error.value.code == "other_training"
    # An earlier release did not record it.
    latest = tmp_path / "training" / "checkpoints" / "latest.json"
    stored = json.loads(latest.read_text())
    del stored["course"]["model.adapter"]
    latest.write_text(json.dumps(stored))
    TrainLoop(other, output, name="t")


def test_checkpoints_of_another_order_of_samples_are_refused(make: MakeTrainer, tmp_path: Path) -> None:
    """Of several streams. Samples of a folder are one stream, which reads as it always did."""
    for write, is_refused in ((write_tars, True), (write_folder, False)):
        data = DataSettings(path=str(write(tmp_path / write.__name__ / "data", 8)), validation_samples=0)
        output = TrainFolder(str(tmp_path / write.__name__))
        loop = TrainLoop(make(data=data), output, name="t")
        loop._save()
        loop.checkpoints.wait()
        assert TrainLoop(make(data=data), output, name="t").course == loop.course
        latest = tmp_path / write.__name__ / "checkpoints" / "latest.json"
        stored = json.loads(latest.read_text())
        del stored["course"]["data.order"]  # earlier releases did not record it
        latest.write_text(json.dumps(stored))
        if not is_refused:
            TrainLoop(make(data=data), output, name="t")
            continue
        with pytest.raises(ModelError, match=r"data\.order was 1, is 2; .* the release that") as error:
            TrainLoop(make(data=data), output, name="t")
        assert error.value.code == "other_training"


def test_checkpoints_on_s3(bucket: str) -> None:
    folder = TrainFolder(f"{bucket}/training")
    assert folder.newest({}) is None
    for step in (1, 2, 3):
        folder.save(Checkpoint(step=step, tensors={"a": torch.full((3,), step)}), {"seed": 0}, keep=2)
    found = folder.newest({"seed": 0})
    assert found is not None and found.step == 3 and found.tensors["a"].tolist() == [3, 3, 3]
    names = sorted(info.uri.rpartition("/")[2] for info in folder.store.list(folder.at("checkpoints")))
    assert names == ["latest.json", "step-0000002.safetensors", "step-0000003.safetensors"]
    folder.store.write(folder.at("checkpoints", names[-1]), b"damaged")
    with pytest.raises(ModelError, match="is damaged"):
        folder.newest({"seed": 0})


def test_what_is_requested_must_match_what_is_resumed(make: MakeTrainer, tmp_path: Path) -> None:
    trainer = make()
    save_adapter(trainer.adapter, str(tmp_path), base=trainer.info, step=5)
    start = describe_adapter(str(tmp_path), trainer.info)
    for changes in ({"integration": "spatial_sum"}, {"features": "middle"}, {"every": 1}):
        settings = replace(trainer.settings, reference=ReferenceSettings(**changes))
        with pytest.raises(SpecError, match=r"set reference\.(integration|features|places) to the adapter's"):
            Trainer(trainer.base, trainer.info, settings, start=start)
