"""The curves of a training: loss by step, and validation error by noise level with right, wrong and no reference.

The gap between right and wrong says that the adapters learned identity; between right and none, that they help.
Knows numbers and one JSON file; what is measured, `dreamcache.training.trainer` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dreamcache.training.checkpoints import TrainFolder

FILE = "curves.json"


@dataclass(kw_only=True, slots=True)
class Curves:
    """train: {step, loss, ...}; validation: {step, level, right, wrong, none}, one entry per step and level."""

    train: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: TrainFolder, step: int) -> Curves:
        """What was written up to `step`; what a killed run added after its last checkpoint is dropped."""
        found: dict[str, Any] = folder.read_json(FILE) or {}
        parts = {
            name: [point for point in found.get(name, []) if point["step"] <= step]
            for name in ("train", "validation")
        }
        return cls(**parts)

    def save(self, folder: TrainFolder) -> None:
        folder.write_json(FILE, {"train": self.train, "validation": self.validation})

    def last_validation(self) -> list[dict[str, float]]:
        """The points of the newest validated step."""
        newest = max((point["step"] for point in self.validation), default=None)
        return [point for point in self.validation if point["step"] == newest]
