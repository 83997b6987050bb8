"""The curves of a training: loss by step, and validation error by noise level with right, wrong and no reference.

The gap between right and wrong shows that the adapters learned identity; between right and none, that they help.
Knows numbers and one JSON file; `dreamcache.training.trainer` knows what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dreamcache.core.errors import ModelError
from dreamcache.training.checkpoints import TrainFolder

FILE = "curves.json"


@dataclass(kw_only=True, slots=True)
class Curves:
    """train: {step, loss, ...}; validation: {step, level, right, wrong, none}, one entry per step and level."""

    train: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: TrainFolder, step: int) -> Curves:
        """The points up to `step`; points that a killed run added after its last checkpoint are dropped."""
        try:
            stored: dict[str, list[dict[str, float]]] = folder.read_json(FILE) or {}
            points = {
                name: [point for point in stored.get(name, []) if point["step"] <= step]
                for name in ("train", "validation")
            }
        except (ModelError, KeyError, TypeError, AttributeError):
            return (
                cls()
            )  # the curves are for people: a damaged file costs the points before, not the training
        return cls(train=points["train"], validation=points["validation"])

    def save(self, folder: TrainFolder) -> None:
        folder.write_json(FILE, {"train": self.train, "validation": self.validation})

    def last_validation(self) -> list[dict[str, float]]:
        """The points of the newest validated step."""
        newest = max((point["step"] for point in self.validation), default=None)
        return [point for point in self.validation if point["step"] == newest]
