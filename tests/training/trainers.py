"""Settings and measurements of the trainers that the `make` fixture gives."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dreamcache.core.config.train import LossSettings, OptimizerSettings
from dreamcache.training.trainer import Trainer

KEEP_ALL = LossSettings(drop_text=0, drop_image=0, drop_both=0)
STEADY = OptimizerSettings(learning_rate=2e-3, warmup_steps=0, ema=0.5)

MakeTrainer = Callable[..., Trainer]
"""make(kind, **changes): a trainer at 64 px whose settings are changed so"""


def copied(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.checkpoint().tensors.items()}


def first_gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Gradients of the first step: AdamW's first moment after one step is a tenth of them (clipping is off)."""
    next(trainer.steps())
    return {name: value * 10 for name, value in copied(trainer).items() if name.startswith("exp_avg/")}
