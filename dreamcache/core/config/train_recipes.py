"""Recipes of training: named groups of settings that a training file begins with; what it sets itself goes first.

    train: {recipe: published, data: ..., optimizer: {learning_rate: 2.0e-5}}
    TrainSettings(data=..., **PUBLISHED)                                        # in Python

`published` is what the paper (supplement) and the authors' code state for SD 2.1. Their configuration has batches of 12
on four GPUs, no average, no warm-up and no clipping. Neither states whether gradients were accumulated beyond these 48
samples of a step. Knows settings; knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from dreamcache.core.config.train import (
    LossSettings,
    OptimizerSettings,
    Recipe,
    ReferenceSettings,
    TransformSettings,
)

PUBLISHED: Mapping[str, Any] = {
    "recipe": "published",
    "transform": TransformSettings(jitter=0.2, jitter_hue=0.05),
    "reference": ReferenceSettings(timestep=1, parts=("middle", "decoder"), every=2),
    "loss": LossSettings(drop_text=0.07, drop_image=0.0, drop_both=0.0, foreground=0.0, min_snr_gamma=0.0),
    "optimizer": OptimizerSettings(
        learning_rate=1e-5, warmup_steps=0, schedule="constant", ema=0.0, clip_norm=0.0
    ),
    "posterior": "sample",
    "steps": 200_000,
    "global_batch": 48,
}
"""Arguments of `TrainSettings`."""

RECIPES: Mapping[Recipe, Mapping[str, Any]] = {"dreamcache": {}, "published": PUBLISHED}


def recipe_values(name: object) -> Mapping[str, object]:
    """The recipe's settings as plain values of a training file; none for a name that is no recipe."""
    chosen = next((values for recipe, values in RECIPES.items() if recipe == name), {})
    return {
        key: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for key, value in chosen.items()
    }
