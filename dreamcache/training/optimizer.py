"""The optimizer's surroundings: learning rate by step, the moving average, and their way to and from checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.train_config import OptimizerSettings

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """The rate of step `step` of `steps`: a linear warm-up, then half a cosine to zero, or a constant."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    if settings.schedule == "constant" or step < settings.warmup_steps:
        return settings.learning_rate * warm
    share = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Average:
    """Exponential moving average of the adapter; the early steps, which know little, weigh less."""

    def __init__(self, adapter: DreamCacheAdapter, decay: float) -> None:
        self.decay = decay
        self.adapter = copy.deepcopy(adapter).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, adapter: DreamCacheAdapter, step: int) -> None:
        """step: optimizer steps made so far."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        torch._foreach_lerp_(list(self.adapter.parameters()), list(adapter.parameters()), 1 - decay)


def pack(
    adapter: DreamCacheAdapter, average: DreamCacheAdapter, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Everything that training changes, as named tensors: "adapter|average|exp_avg|exp_avg_sq|step/<parameter>"."""
    tensors = {}
    for name, parameter in adapter.named_parameters():
        tensors[f"adapter/{name}"] = parameter.detach()
        for moment in MOMENTS if parameter in optimizer.state else ():
            tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
    tensors |= {f"average/{name}": value for name, value in average.named_parameters()}
    return tensors


@torch.no_grad()
def unpack(
    tensors: Mapping[str, Tensor],
    adapter: DreamCacheAdapter,
    average: DreamCacheAdapter,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Puts back what `pack` took."""
    averages = dict(average.named_parameters())
    for name, parameter in adapter.named_parameters():
        parameter.copy_(tensors[f"adapter/{name}"])
        averages[name].copy_(tensors[f"average/{name}"])
        if f"step/{name}" in tensors:
            state = {moment: tensors[f"{moment}/{name}"].clone() for moment in MOMENTS}
            # AdamW counts its steps on the CPU, wherever the weights are.
            optimizer.state[parameter] = {
                moment: value if moment == "step" else value.to(parameter.device)
                for moment, value in state.items()
            }
