"""The exported adapter, its model card, and the settings of the training file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dreamcache import DreamCachePipeline
from dreamcache.core.config.train import IntervalSettings, LossSettings, TransformSettings
from dreamcache.core.errors import SpecError
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.training.checkpoints import TrainFolder
from dreamcache.training.loop import TrainLoop
from jobs.cli.main import app
from tests.training.trainers import MakeTrainer


def test_the_exported_adapter_is_the_average_and_generates(make: MakeTrainer, tmp_path: Path) -> None:
    every = IntervalSettings(
        log=2, checkpoint=2, validate=2, samples=2, sample_count=2, sample_steps=2, levels=(500,)
    )
    trainer = make(steps=2, every=every, precision="float32")
    place = TrainLoop(trainer, TrainFolder(str(tmp_path)), name="boxes").run()
    assert place == str(tmp_path / "adapter")
    pipe = DreamCachePipeline.from_pretrained(trainer.info.location, adapter=place)
    assert pipe.adapter is not None
    for ours, theirs in zip(trainer.average.module.parameters(), pipe.adapter.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    subject = pipe.encode_reference(Image.new("RGB", (64, 64), (200, 20, 20)))
    options: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64}
    assert len(pipe(["a", "b"], [subject, None], **options).images) == 2
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "base_model_relation: adapter" in card and "| 500 |" in card and "2 steps of 4 samples" in card
    assert str(tmp_path) not in card and trainer.info.location not in card
    assert Image.open(tmp_path / "samples" / "step-0000002.png").size == (3 * 64, 2 * 64)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["counts"]["done"], status["kind"]) == ("finished", 2, "training")
    printed = CliRunner().invoke(app, ["status", str(tmp_path)]).output
    assert printed.startswith("training boxes: finished") and "steps 2/2  loss " in printed
    assert "ETA" not in printed
    again = make(steps=2, every=every)
    assert describe_adapter(place, again.info).step == 2


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="drop_text"):
        LossSettings(drop_text=0.6, drop_image=0.3, drop_both=0.2)
    with pytest.raises(ValueError, match="erase_area"):
        TransformSettings(erase_area=(0.3, 0.2))
    from jobs.train.spec import parse_train_spec

    values: dict[str, Any] = {"name": "a", "output": "o", "train": {"data": {"path": "d"}, "global_batch": 3}}
    assert parse_train_spec(values).train.optimizer.learning_rate == 1e-5
    with pytest.raises(SpecError, match=r"multiple of workers\.count"):
        parse_train_spec({**values, "workers": {"count": 2}})
    values["train"]["optimizer"] = {"learning_rat": 1}
    with pytest.raises(SpecError, match=r"unknown key 'train\.optimizer\.learning_rat'.*'learning_rate'"):
        parse_train_spec(values)


def test_hooks_are_flushed_at_the_end_also_without_checkpoints(make: MakeTrainer, tmp_path: Path) -> None:
    """With TensorBoard on S3 nothing would be there."""
    calls: list[str] = []

    class Recording:
        def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
            calls.append(f"{step} {min(metrics)}")

        def on_image(self, step: int, name: str, image: Image.Image) -> None: ...

        def flush(self) -> None:
            calls.append("flush")

    every = IntervalSettings(log=2, checkpoint=0, validate=0, levels=(500,))
    loop = TrainLoop(make(every=every, steps=2), TrainFolder(str(tmp_path)), name="t", hooks=[Recording()])
    assert loop.run() is not None
    assert calls == ["2 train/gradient_norm", "flush"]
