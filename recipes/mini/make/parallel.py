"""Training on several processes of one machine: gradients are averaged after every backward pass.

On a CPU two processes of one thread train faster than one process of two threads. Knows torch.distributed only.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn

from recipes.mini.make.settings import Settings


class Team:
    """This process's place among all."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0

    @torch.no_grad()
    def average(self, parameters: Sequence[nn.Parameter], *numbers: float) -> list[float]:
        """Average gradients in place (a missing one counts as zero) and the numbers, over all processes.

        All processes get the same numbers back, so that they may decide by them alike.
        """
        if self.size == 1:
            return list(numbers)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in parameters]
        flat = torch.cat([*(g.flatten() for g in grads), torch.tensor(numbers, device=grads[0].device)])
        distributed.all_reduce(flat)
        flat /= self.size
        *parts, tail = flat.split([*(g.numel() for g in grads), len(numbers)])
        torch._foreach_copy_(grads, _shaped(parts, grads))
        return [float(value) for value in tail]

    @torch.no_grad()
    def divide(
        self, function: Callable[[Tensor], Tensor], values: Sequence[Tensor], dtype: torch.dtype
    ) -> list[Tensor]:
        """function of each value, in `dtype` and of its shape; every process computes a part, and all get all."""
        if self.size == 1:
            return [function(value) for value in values]
        # By size, so that the parts are about equally large.
        order = sorted(range(len(values)), key=lambda index: -values[index].numel())
        made = [torch.empty_like(value, dtype=dtype) for value in values]
        for index in order[self.rank :: self.size]:
            made[index] = function(values[index])
        for rank in range(self.size):
            parts = [made[index] for index in order[rank :: self.size]]
            flat = torch.cat([part.flatten() for part in parts])
            distributed.broadcast(flat, src=rank)
            if rank != self.rank:
                torch._foreach_copy_(parts, _shaped(flat.split([part.numel() for part in parts]), parts))
        return made


def launch(settings: Settings, function: Callable[..., None], *args: Any) -> None:
    """Run function(team, settings, *args) in `settings.processes` processes (one on a GPU) and wait for all."""
    size = settings.processes if settings.device == "cpu" else 1
    if size == 1:
        function(Team(), settings, *args)
        return
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_member, (size, f"file://{folder}/meet", function, settings, args), nprocs=size)


def _member(
    rank: int, size: int, meet: str, function: Callable[..., None], settings: Settings, args: tuple[Any, ...]
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=size)
    try:
        function(Team(rank, size), settings, *args)
    finally:
        distributed.destroy_process_group()


def _shaped(parts: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    return [part.view_as(grad) for part, grad in zip(parts, like, strict=True)]
