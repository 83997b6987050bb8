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

from recipes.mini.make.compute import device_of
from recipes.mini.make.settings import Settings


class Team:
    """This process among all that train together."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0

    @torch.no_grad()
    def average(
        self, parameters: Sequence[nn.Parameter], share: float, loss: Tensor
    ) -> tuple[float, Tensor | float]:
        """Average gradients in place (a missing one counts as zero), the share and the loss, over all processes.

        All processes receive the same numbers, so they decide alike. One process alone does not wait for its device.
        """
        if self.size == 1:
            return share, loss
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in parameters]
        numbers = torch.stack([torch.tensor(share, device=loss.device), loss])
        flat = torch.cat([*(g.flatten() for g in grads), numbers])
        distributed.all_reduce(flat)
        flat /= self.size
        *parts, tail = flat.split([*(g.numel() for g in grads), len(numbers)])
        torch._foreach_copy_(grads, _shaped(parts, grads))
        return float(tail[0]), float(tail[1])

    @torch.no_grad()
    def divide(
        self, function: Callable[[Tensor], Tensor], values: Sequence[Tensor], dtype: torch.dtype
    ) -> list[Tensor]:
        """function of each value, in `dtype` and of its shape; every process computes a part, and all get all."""
        if self.size == 1:
            return [function(value) for value in values]
        # By size, so that the parts are about equally large.
        order = sorted(range(len(values)), key=lambda index: -values[index].numel())
        results = [torch.empty_like(value, dtype=dtype) for value in values]
        for index in order[self.rank :: self.size]:
            results[index] = function(values[index]).contiguous()
        for rank in range(self.size):
            parts = [results[index] for index in order[rank :: self.size]]
            flat = torch.cat([part.flatten() for part in parts])
            distributed.broadcast(flat, src=rank)
            if rank != self.rank:
                torch._foreach_copy_(parts, _shaped(flat.split([part.numel() for part in parts]), parts))
        return results


def launch(settings: Settings, function: Callable[..., None], *args: Any) -> None:
    """Run function(team, settings, *args) in `settings.processes` processes (one on a GPU) and wait for all."""
    size = settings.processes if device_of(settings.device).type == "cpu" else 1
    if size == 1:
        function(Team(), settings, *args)
        return
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(
            _member, (size, f"file://{folder}/rendezvous", function, settings, args), nprocs=size
        )


def _member(
    rank: int,
    size: int,
    rendezvous: str,
    function: Callable[..., None],
    settings: Settings,
    args: tuple[Any, ...],
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size)
    try:
        function(Team(rank, size), settings, *args)
    finally:
        distributed.destroy_process_group()


def _shaped(parts: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    return [part.view_as(grad) for part, grad in zip(parts, like, strict=True)]
