"""What the learned measuring tools share: renders of training designs, a short training, one file each.

The tools see training designs only, never a picture of the model that they measure; blurred and noisy copies prepare
them for pictures that are not renders.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from recipes.mini.make.checkpoints import set_rate
from recipes.mini.make.optimizer import MatrixAdam

_RATE = 2e-3


def load_or_train(
    path: Path, model: nn.Module, train: Callable[[], None], *, renders: int, epochs: int
) -> nn.Module:
    """The model with its kept weights; they are trained and written where there are none.

    They are kept beside `path`, under a name with renders and epochs: what a toy run hardly trained must not measure.
    """
    path = path.with_stem(f"{path.stem}-{renders}x{epochs}")
    if not path.exists():
        train()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(model.state_dict(), partial)
        os.replace(partial, path)
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return model.eval().requires_grad_(False)


def fit(model: nn.Module, loss: Callable[[Tensor], Tensor], count: int, *, batch: int, epochs: int) -> None:
    """Train on rows 0 to `count`; the rate falls linearly. loss(rows) is a mean over these rows."""
    torch.manual_seed(0)
    optimizer = MatrixAdam(model.parameters(), lr=_RATE)
    steps = epochs * max(1, count // batch)
    for step in range(steps):
        set_rate(optimizer, _RATE * min(1.0, (step + 1) / 20) * (1 - step / steps))
        value = loss(torch.randint(count, (batch,)))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()


def pixels(pictures: np.ndarray) -> Tensor:
    """uint8 [n, h, w, 3] to [n, 3, h, w] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def degraded(pictures: Tensor) -> Tensor:
    """Copies with a random blur and a random noise for each picture."""
    small = functional.interpolate(pictures, scale_factor=0.5, mode="bilinear", antialias=True)
    soft = functional.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
    share = torch.rand(len(pictures), 1, 1, 1) * (torch.rand(len(pictures), 1, 1, 1) < 0.6)
    noise = 0.08 * torch.rand(len(pictures), 1, 1, 1) * torch.randn_like(pictures)
    return torch.lerp(pictures, soft, share) + noise


def block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """Two convolutions with group norms."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(8, outside), nn.SiLU(),
        nn.Conv2d(outside, outside, 3, 1, 1), nn.GroupNorm(8, outside), nn.SiLU(),
    )  # fmt: skip
