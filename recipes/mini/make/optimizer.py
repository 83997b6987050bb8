"""The recipe's optimizer: orthogonalised momentum for weight matrices, Adam for everything else.

Momentum of a matrix is replaced by its nearest orthogonal matrix (Newton-Schulz; "Muon", Jordan et al. 2024), scaled
so that steps are as large as Adam's (Liu et al. 2025, arXiv 2502.16982). It needs fewer samples than Adam alone, and
samples are what two cores are short of. A convolution's kernel counts as a matrix of [out, in * h * w].
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recipes.mini.make.compute import fast_dtype
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
        every = list(parameters)
        groups = [
            {"params": [p for p in every if _is_matrix(p)], "matrices": True},
            {"params": [p for p in every if not _is_matrix(p)], "matrices": False},
        ]
        super().__init__(
            [g for g in groups if g["params"]], {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; takes no closure."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            group["step"] = group.get("step", 0) + 1
            updates = self._matrices(parameters) if group["matrices"] else self._adam(parameters, group)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _matrices(self, parameters: list[nn.Parameter]) -> list[Tensor]:
        """The costly part of a step, so each process of the team computes its share; equal shapes go together."""
        ahead = self._ahead(parameters)
        shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, momentum in enumerate(ahead):
            shapes[tuple(momentum.flatten(1).shape)].append(index)
        stacks = [torch.stack([ahead[i].flatten(1) for i in members]) for members in shapes.values()]
        results = self._team.divide(orthogonal, stacks, fast_dtype(parameters[0].device))
        updates: list[Tensor] = [torch.empty(0)] * len(parameters)
        for (shape, members), stack in zip(shapes.items(), results, strict=True):
            scaled = stack.to(ahead[0].dtype) * (0.2 * max(shape) ** 0.5)
            for index, update in zip(members, scaled, strict=True):
                updates[index] = update.view_as(parameters[index])
        return updates

    def _ahead(self, parameters: list[nn.Parameter]) -> list[Tensor]:
        """Nesterov's look ahead along the momentum."""
        grads = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, grads, 1 - _MOMENTUM)
        return list(torch._foreach_lerp(grads, momenta, _MOMENTUM))

    def _adam(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> list[Tensor]:
        grads, betas, step = [parameter.grad for parameter in parameters], group["betas"], group["step"]
        for parameter in parameters:
            if not self.state[parameter]:
                zeros = torch.zeros_like(parameter)
                self.state[parameter].update(first=zeros, second=zeros.clone())
        firsts, seconds = ([self.state[p][name] for p in parameters] for name in ("first", "second"))
        torch._foreach_lerp_(firsts, grads, 1 - betas[0])
        torch._foreach_mul_(seconds, betas[1])
        torch._foreach_addcmul_(seconds, grads, grads, 1 - betas[1])
        roots = torch._foreach_sqrt(torch._foreach_div(seconds, 1 - betas[1] ** step))
        torch._foreach_add_(roots, 1e-8)
        return list(torch._foreach_div(torch._foreach_div(firsts, 1 - betas[0] ** step), roots))


def orthogonal(matrices: Tensor) -> Tensor:
    """About the orthogonal matrices nearest to [..., m, n]: singular values become 0.7 to 1.2. In the fast dtype."""
    a, b, c = _NEWTON_SCHULZ
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).to(fast_dtype(matrices.device))
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and min(parameter.flatten(1).shape) >= 16
