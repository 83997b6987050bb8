"""The optimizer of the U-Net: orthogonalised momentum for weight matrices, Adam for everything else.

Momentum of a matrix is replaced by its nearest orthogonal matrix (Newton-Schulz; "Muon", Jordan et al. 2024), scaled
so that steps are as large as Adam's (Liu et al. 2025, arXiv 2502.16982). It needs fewer samples than Adam alone, and
samples are what two cores are short of. A convolution's kernel counts as a matrix of [out, in * h * w].
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recipes.mini.make.parallel import Team

_MOMENTUM, _STEPS = 0.95, 5
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class MatrixAdam(torch.optim.Optimizer):
    """AdamW, but orthogonalised momentum for parameters of two or more dimensions."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        team: Team = Team(),
    ) -> None:
        """team: the processes that take the same steps with the same gradients."""
        self._team = team
        given = list(parameters)
        groups = [
            {"params": [p for p in given if _is_matrix(p)], "matrices": True},
            {"params": [p for p in given if not _is_matrix(p)], "matrices": False},
        ]
        super().__init__(
            [g for g in groups if g["params"]], {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; takes no closure."""
        for group in self.param_groups:
            given = [parameter for parameter in group["params"] if parameter.grad is not None]
            made = (
                self._matrices(given) if group["matrices"] else (self._adam(p, group["betas"]) for p in given)
            )
            for parameter, update in zip(given, made, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])

    def _matrices(self, parameters: list[nn.Parameter]) -> list[Tensor]:
        """The costly part of a step, so each process of the team does its share."""
        ahead = [self._ahead(parameter).flatten(1) for parameter in parameters]
        made = self._team.divide(orthogonal, ahead, torch.bfloat16)
        return [
            (update * (0.2 * max(update.shape) ** 0.5)).view_as(parameter).to(parameter.dtype)
            for parameter, update in zip(parameters, made, strict=True)
        ]

    def _ahead(self, parameter: nn.Parameter) -> Tensor:
        """Nesterov's look ahead along the momentum."""
        state, grad = self.state[parameter], parameter.grad
        if not state:
            state["momentum"] = torch.zeros_like(grad)
        state["momentum"].lerp_(grad, 1 - _MOMENTUM)
        return grad.lerp(state["momentum"], _MOMENTUM)

    def _adam(self, parameter: nn.Parameter, betas: tuple[float, float]) -> Tensor:
        state, grad = self.state[parameter], parameter.grad
        if not state:
            state |= {"step": 0, "first": torch.zeros_like(grad), "second": torch.zeros_like(grad)}
        state["step"] += 1
        state["first"].lerp_(grad, 1 - betas[0])
        state["second"].mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
        first = state["first"] / (1 - betas[0] ** state["step"])
        second = state["second"] / (1 - betas[1] ** state["step"])
        return first / (second.sqrt() + 1e-8)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the orthogonal matrix nearest to [m, n]: singular values become 0.7..1.2. In bfloat16."""
    a, b, c = _NEWTON_SCHULZ
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and min(parameter.flatten(1).shape) >= 16
