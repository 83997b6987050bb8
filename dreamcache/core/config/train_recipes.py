"""Recipes of training: named groups of settings that a training file begins with; what it sets itself goes first.

    train: {recipe: published, data: ..., optimizer: {learning_rate: 2.0e-5}}
    TrainSettings(data=..., **PUBLISHED)                                        # in Python

`published` is what the paper (supplement) and the authors' code state for SD 2.1. Neither states whether the 48 samples
of a step are four GPUs of 12, as here, or more by accumulation; nor a warm-up or clipping: there is no warm-up here,
and our clipping stays, which acts on gradients above 1 only. Knows settings; knows nothing of files.
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
    "optimizer": OptimizerSettings(learning_rate=1e-5, warmup_steps=0, schedule="constant", ema=0.0),
    "posterior": "sample",
    "steps": 200_000,
    "global_batch": 48,
}
"""Arguments of `TrainSettings`."""

RECIPES: Mapping[Recipe, Mapping[str, Any]] = {"dreamcache": {}, "published": PUBLISHED}


def recipe_values(name: object) -> dict[str, Any]:
    """The recipe's settings as plain values of a training file; none for a name that is no recipe."""
    chosen = next((values for recipe, values in RECIPES.items() if recipe == name), {})
    return {
        key: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for key, value in chosen.items()
    }
