"""The optimizer's surroundings: learning rate by step, the moving average, and their way to and from checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dreamcache.core.config.train import OptimizerSettings

M = TypeVar("M", bound=nn.Module)
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """The rate of step `step` of `steps`: a linear warm-up, then half a cosine to zero, or a constant."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    if settings.schedule == "constant" or step < settings.warmup_steps:
        return settings.learning_rate * warm
    share = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def learned(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a module that are trained, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


class Average(Generic[M]):
    """Exponential moving average of what a module learns; the early steps, which know little, weigh less."""

    def __init__(self, module: M, decay: float) -> None:
        self.decay = decay
        shared = {id(p): p for p in module.parameters() if not p.requires_grad}
        self.module = copy.deepcopy(module, shared).requires_grad_(False).eval()
        self._names = list(learned(module))

    def tensors(self) -> dict[str, Tensor]:
        """The averages by the names of what is averaged."""
        found = dict(self.module.named_parameters())
        return {name: found[name] for name in self._names}

    @torch.no_grad()
    def update(self, module: M, step: int) -> None:
        """step: optimizer steps made so far."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        torch._foreach_lerp_(list(self.tensors().values()), list(learned(module).values()), 1 - decay)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part(Generic[M]):
    """A module that learns, its average, and what stands before its names in a checkpoint.

    scale: of its learning rate, in shares of the adapter's.
    """

    module: M
    average: Average[M]
    prefix: str = ""
    scale: float = 1.0

    def group(self) -> dict[str, Any]:
        """Its parameters as the optimizer takes them."""
        return {"params": list(learned(self.module).values()), "scale": self.scale}

    def pack(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """All that training changes of it: "<prefix>adapter|average|exp_avg|exp_avg_sq|step/<parameter>"."""
        tensors = {}
        for name, parameter in learned(self.module).items():
            tensors[f"{self.prefix}adapter/{name}"] = parameter.detach()
            for moment in MOMENTS if parameter in optimizer.state else ():
                tensors[f"{self.prefix}{moment}/{name}"] = optimizer.state[parameter][moment]
        averages = self.average.tensors()
        return tensors | {f"{self.prefix}average/{name}": value for name, value in averages.items()}

    @torch.no_grad()
    def unpack(self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Puts back what `pack` took."""
        averages = self.average.tensors()
        for name, parameter in learned(self.module).items():
            parameter.copy_(tensors[f"{self.prefix}adapter/{name}"])
            averages[name].copy_(tensors[f"{self.prefix}average/{name}"])
            if f"{self.prefix}step/{name}" in tensors:
                state = {moment: tensors[f"{self.prefix}{moment}/{name}"].clone() for moment in MOMENTS}
                # AdamW counts its steps on the CPU, wherever the weights are.
                optimizer.state[parameter] = {
                    moment: value if moment == "step" else value.to(parameter.device)
                    for moment, value in state.items()
                }
