"""Around the optimizer: the learning rate of each step, the moving average, and their way to and from checkpoints.

`diffusers.training_utils.EMAModel` and `diffusers.optimization.get_scheduler` are not used. EMAModel keeps bare
tensors, where validation and samples need a module to run, and its update rounds differently: with decay 0 it does not
end at the last step's weights. get_scheduler begins the warm-up at a rate of 0 and ends it a step later.
"""

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
    """The rate of step `step` (from 0) of `steps`: a linear warm-up, then half a cosine to zero, or a constant."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    if settings.schedule == "constant" or step < settings.warmup_steps:
        return settings.learning_rate * warm
    share = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def learned(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a module that are trained, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


class EMA(Generic[M]):
    """Exponential moving average of what a module learns; the early steps, which know little, weigh less.

    module: a copy with the averaged weights, frozen and in eval mode; what is not trained is shared with the original.
    decay: the limit that (1 + step) / (10 + step) approaches; 0 keeps the last step's weights.
    """

    def __init__(self, module: M, decay: float) -> None:
        self.decay = decay
        shared = {id(p): p for p in module.parameters() if not p.requires_grad}
        self.module = copy.deepcopy(module, shared).requires_grad_(False).eval()
        self._names = list(learned(module))

    def tensors(self) -> dict[str, Tensor]:
        """The averages by the names of the parameters."""
        parameters = dict(self.module.named_parameters())
        return {name: parameters[name] for name in self._names}

    @torch.no_grad()
    def update(self, module: M, step: int) -> None:
        """step: optimizer steps done so far, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        torch._foreach_lerp_(list(self.tensors().values()), list(learned(module).values()), 1 - decay)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainedModule(Generic[M]):
    """A module that learns, its average, and the prefix of its names in a checkpoint.

    scale: of its learning rate, relative to the adapter's.
    """

    module: M
    average: EMA[M]
    prefix: str = ""
    scale: float = 1.0

    def group(self) -> dict[str, Any]:
        """Its parameters as the optimizer takes them."""
        return {"params": list(learned(self.module).values()), "scale": self.scale}

    def pack(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """All that training changes of it: "<prefix>adapter|average|exp_avg|exp_avg_sq|step/<parameter>"."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in learned(self.module).items():
            tensors[f"{self.prefix}adapter/{name}"] = parameter.detach()
            for moment in MOMENTS if parameter in optimizer.state else ():
                tensors[f"{self.prefix}{moment}/{name}"] = optimizer.state[parameter][moment]
        averages = self.average.tensors()
        return tensors | {f"{self.prefix}average/{name}": value for name, value in averages.items()}

    @torch.no_grad()
    def unpack(self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Restores the state that `pack` returned."""
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
