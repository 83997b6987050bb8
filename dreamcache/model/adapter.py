"""The conditioning adapter: the only trained parameters (paper section 3.2; METHOD section 2).

    m = CrossAttention(q = LayerNorm(x), k = v = F)
    x = x + Linear_{2C -> C}( concat[ SelfAttention(norm1(x)), m ] )

x is the input of the transformer block, F the cached feature map of the same place. The block's own text
cross-attention and feed-forward follow unchanged. Knows nothing of where it is injected (see `inject`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceShape:
    """Width and heads of the transformer block at one place, read off the base U-Net."""

    channels: int
    heads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KeysValues:
    """Adapter keys and values of a stack of subjects at one place.

    keys, values: [subjects, heads, h * w, channels / heads]. Constant over steps and prompts.
    """

    keys: Tensor
    values: Tensor

    @property
    def num_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.keys, self.values))


class AdapterBlock(nn.Module):
    """The adapter of one place: 4 C^2 attention, 2 C^2 joining projection, one layer norm."""

    def __init__(self, shape: PlaceShape) -> None:
        super().__init__()
        width = shape.channels
        self.heads = shape.heads
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Linear(width, width)
        self.join = nn.Linear(2 * width, width)
        self.reset_join()

    @torch.no_grad()
    def reset_join(self) -> None:
        """Start as the base block: Linear([a, m]) = a. (The published code starts from a random join.)"""
        width = self.join.out_features
        self.join.weight.zero_()
        self.join.weight[:, :width].copy_(torch.eye(width))
        self.join.bias.zero_()

    def project(self, feature: Tensor) -> KeysValues:
        """Keys and values of a feature map [B, C, h, w]; needed once per subject."""
        tokens = feature.flatten(2).transpose(1, 2)
        return KeysValues(keys=self._split(self.to_k(tokens)), values=self._split(self.to_v(tokens)))

    def forward(self, x: Tensor, self_attention: Tensor, memory: KeysValues) -> Tensor:
        """What takes the place of the block's self-attention output; all tensors [B, tokens, C]."""
        query = self._split(self.to_q(self.norm(x)))
        read = functional.scaled_dot_product_attention(query, memory.keys, memory.values)
        read = self.to_out(read.transpose(1, 2).flatten(2))
        return self.join(torch.cat([self_attention, read], dim=-1))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DreamCacheAdapter(nn.Module):
    """One `AdapterBlock` per place; places are module names of the U-Net's `Transformer2DModel`s."""

    def __init__(self, shapes: Mapping[str, PlaceShape]) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        # A module name may not hold a dot, so the places are kept with slashes.
        self.blocks = nn.ModuleDict({_key(place): AdapterBlock(shape) for place, shape in shapes.items()})

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    def block(self, place: str) -> AdapterBlock:
        block = self.blocks[_key(place)]
        assert isinstance(block, AdapterBlock)
        return block

    def project(self, features: Mapping[str, Tensor]) -> dict[str, KeysValues]:
        """Keys and values for every place; features[place] is [B, C, h, w]."""
        return {place: self.block(place).project(features[place]) for place in self.places}


def _key(place: str) -> str:
    return place.replace(".", "/")
