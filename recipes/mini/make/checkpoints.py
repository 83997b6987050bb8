"""Checkpoints and the clock of a stage: what lets every stage stop anywhere and go on.

Knows files and time. Must not know what is trained.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recipes.mini.make.settings import Settings


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def read(path: Path) -> dict[str, Any] | None:
    """The checkpoint, or None where there is none yet."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def prepare(settings: Settings, seed: int = 0) -> torch.device:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(seed)
    return torch.device(settings.device)


class Clock:
    """Minutes trained so far (over all runs of a stage) against the stage's budget."""

    def __init__(self, budget: float, spent: float = 0.0) -> None:
        self.budget = budget
        self._start = time.monotonic() - spent * 60
        self._marks: dict[str, float] = {}

    @property
    def spent(self) -> float:
        return (time.monotonic() - self._start) / 60

    @property
    def share(self) -> float:
        return min(1.0, self.spent / self.budget)

    def due(self, name: str, every: float) -> bool:
        """True once in every `every` minutes."""
        if self.spent - self._marks.setdefault(name, self.spent) < every:
            return False
        self._marks[name] = self.spent
        return True


def cosine(share: float, step: int, warmup: int = 100, floor: float = 0.02) -> float:
    """The factor on the learning rate: a warm-up in steps, then half a cosine over the budget."""
    return min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """Exponential moving average of a module's parameters, in float32."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self.values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        now = module.state_dict()
        names = [name for name in self.values if self.values[name].is_floating_point()]
        torch._foreach_lerp_([self.values[n] for n in names], [now[n] for n in names], 1 - decay)
