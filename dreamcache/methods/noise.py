"""The noise an image begins with. Knows generators only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


def unit_noise(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> Tensor:
    """Each item's own noise in float32 on the CPU: the same for every method and dtype."""
    return randn_tensor(shape, generator=list(generators), device=torch.device("cpu"), dtype=torch.float32)
