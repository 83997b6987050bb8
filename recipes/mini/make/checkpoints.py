"""Checkpoints and the clock of a stage: they let every stage stop at any time and resume.

Knows files and time. Must not know what is trained.
"""

import os
import time
from pathlib import Path
from typing import Any

import torch

from dreamcache.training.optimizer import EMA
from recipes.mini.make.compute import device_of
from recipes.mini.make.settings import Settings

__all__ = ["EMA", "Clock", "prepare", "read", "set_rate", "trapezoid", "write"]

COOL_FROM = 0.75
"""The share of a budget after which the learning rate falls to zero."""


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def read(path: Path) -> dict[str, Any] | None:
    """The checkpoint, or None where there is none yet."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def prepare(settings: Settings, seed: int = 0) -> torch.device:
    """Seeds and threads of this process; the device to compute on."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    return device_of(settings.device)


class Clock:
    """Minutes trained so far (over all runs of a stage) against the stage's budget.

    On a CPU a minute is one in which all threads of this process worked: training at idle priority takes longer by
    the wall and not by this clock. On a GPU it is a minute by the wall.
    """

    def __init__(self, budget: float, spent: float = 0.0, *, device: torch.device) -> None:
        self.budget = budget
        self._threads = torch.get_num_threads() if device.type == "cpu" else 0
        self._start = self._now() - spent
        self._marks: dict[str, float] = {}

    @property
    def spent(self) -> float:
        return self._now() - self._start

    @property
    def share(self) -> float:
        return min(1.0, self.spent / self.budget) if self.budget > 0 else 1.0

    def cool_down(self) -> None:
        """Shorten the budget so that the fall of the learning rate begins now."""
        self.budget = min(self.budget, self.spent / COOL_FROM)

    def due(self, name: str, every: float) -> bool:
        """True once in every `every` minutes by the wall."""
        now = time.monotonic() / 60
        if now - self._marks.setdefault(name, now) < every:
            return False
        self._marks[name] = now
        return True

    def _now(self) -> float:
        return (time.process_time() / self._threads if self._threads else time.monotonic()) / 60


def trapezoid(share: float, step: int, warmup: int = 60) -> float:
    """The factor on the learning rate: a warm-up in steps, a constant, a linear fall at the end of the budget."""
    return min(1.0, (step + 1) / warmup) * min(1.0, (1.02 - share) / (1 - COOL_FROM))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
