"""Spatial concat: the paper's integration (section 3.2) and the published checkpoints'. 6 C^2 a place: 25.2 M.

    m = CrossAttention(q = LayerNorm(x), k = v = F)
    x = x + Linear_{2C -> C}( concat[ SelfAttention(norm1(x)), m ] )

x is the input of the transformer block, F the cached feature map. The block's own text attention and feed-forward
follow unchanged (METHOD section 2).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dreamcache.model.integration.base import KeysValues, PlaceShape, Point, ReferenceAttention


class SpatialConcat(ReferenceAttention):
    """Self-attention and reference, joined by one projection."""

    point: ClassVar[Point] = "self_attention"

    def __init__(self, shape: PlaceShape) -> None:
        super().__init__(shape)
        self.join = nn.Linear(2 * shape.channels, shape.channels)
        self.reset_join()

    @torch.no_grad()
    def reset_join(self) -> None:
        """Start as the base block: Linear([a, m]) = a. (The published code starts from a random join.)"""
        width = self.join.out_features
        self.join.weight.zero_()
        self.join.weight[:, :width].copy_(torch.eye(width))
        self.join.bias.zero_()

    def forward(self, x: Tensor, output: Tensor, memory: KeysValues, base: Any = None) -> Tensor:
        joined: Tensor = self.join(torch.cat([output, self.read(x, memory)], dim=-1))
        return joined
