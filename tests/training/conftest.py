"""Trainers on tiny models, and the four samples they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dreamcache.core.config.train import DataSettings, IntervalSettings, TrainSettings
from dreamcache.model.base import load_base
from dreamcache.storage.models.base import describe_base
from dreamcache.training.trainer import Trainer
from tests.tiny import save_base
from tests.train_samples import write_folder
from tests.training.trainers import KEEP_ALL, STEADY, MakeTrainer


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {kind: save_base(root / kind, prediction_type=kind) for kind in ("epsilon", "v_prediction")}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("data"), 4))


@pytest.fixture(scope="session")
def make(bases: dict[str, Path], data: str) -> MakeTrainer:
    """A trainer at 64 px, four samples a step, validated on the same four samples."""

    def made(kind: str = "epsilon", **changes: Any) -> Trainer:
        settings: dict[str, Any] = {
            "data": DataSettings(path=data, validation=data),
            "loss": KEEP_ALL,
            "optimizer": STEADY,
            "every": IntervalSettings(log=1, checkpoint=3, validate=100, levels=(200, 600)),
            "steps": 6,
            "global_batch": 4,
            "micro_batch": 4,
            "size": 64,
            "precision": "float32",
        }
        info = describe_base(str(bases[kind]))
        chosen = TrainSettings(**{**settings, **changes})
        return Trainer(load_base(info, dtype=getattr(torch, chosen.precision), device="cpu"), info, chosen)

    return made
