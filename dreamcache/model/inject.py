"""Injection: adapters act on a U-Net from outside, through hooks, for the rows of a batch that have a subject.

The base modules and weights stay untouched: without a memory the U-Net is the plain one. A row without a subject, or
with strength 0, gets exactly the base block's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dreamcache.model.adapter import DreamCacheAdapter, Integration, KeysValues
from dreamcache.model.places import block_at

TARGETS = {"self_attention": "attn1", "text_attention": "attn2", "block": ""}
"""The module of a transformer block whose output an integration replaces, by its point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The image condition of one batch.

    rows: [R] indices of the batch rows that have a subject, or None for all of them in order.
    keys_values: by place, stacked over those R rows.
    strength: [R, 1, 1]; 1 is the paper's block, 0 the base block.
    """

    keys_values: Mapping[str, KeysValues]
    rows: Tensor | None = None
    strength: Tensor | None = None


class Injector:
    """The hooks of one adapter on one U-Net. memory: what the places read now; None leaves the base U-Net.

    Places are found once, and hooks stay on while the memory changes: a loop over steps enters `installed` once.
    """

    def __init__(self, unet: UNet2DConditionModel, adapter: DreamCacheAdapter) -> None:
        """Raises ModelError for a place that the U-Net does not have."""
        self.memory: Memory | None = None
        self._places = [(place, block_at(unet, place), adapter.block(place)) for place in adapter.places]
        self._handles: list[RemovableHandle] = []

    @contextmanager
    def installed(self, memory: Memory | None = None) -> Iterator[None]:
        """Within the block, the transformer block of every place reads `memory`, and what it is replaced with."""
        own = not self._handles
        before, self.memory = self.memory, memory
        try:
            if own:
                self.install()
            yield
        finally:
            self.memory = before
            if own:
                self.remove()

    def install(self) -> None:
        for place, block, integration in self._places:
            self._handles += self._hook(place, block, integration)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, place: str, block: nn.Module, integration: Integration) -> list[RemovableHandle]:
        target = block.get_submodule(TARGETS[integration.point])
        # attn1 sees norm1(x) only, while the adapter needs x itself: one hook keeps x, the other joins.
        source = target if integration.point == "text_attention" else block
        inputs: list[Tensor] = []

        def keep_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.memory is not None:
                inputs[:] = [args[0] if args else kwargs["hidden_states"]]

        def join(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            memory = self.memory
            if memory is None:
                return None
            return blend(integration, inputs.pop(), output, memory, memory.keys_values[place], module)

        return [
            source.register_forward_pre_hook(keep_input, with_kwargs=True),
            target.register_forward_hook(join),
        ]


@contextmanager
def injecting(
    unet: UNet2DConditionModel, adapter: DreamCacheAdapter, memory: Memory | None
) -> Iterator[None]:
    """Within the block, the transformer block of every place reads `memory`. None leaves the base U-Net."""
    if memory is None:
        yield
        return
    with Injector(unet, adapter).installed(memory):
        yield


def blend(
    adapter: Integration, x: Tensor, output: Tensor, memory: Memory, kv: KeysValues, module: nn.Module
) -> Tensor:
    """The adapter's output on the rows that have a subject, the base's on the others; [B, tokens, C].

    output: of the base's `module`, at the integration's point.
    """
    rows = memory.rows
    base = output if rows is None else output.index_select(0, rows)
    joined = adapter(x if rows is None else x.index_select(0, rows), base, kv, module)
    if memory.strength is not None:
        joined = torch.lerp(base, joined.to(base.dtype), memory.strength.to(base.dtype))
    return joined if rows is None else output.index_copy(0, rows, joined.to(output.dtype))
