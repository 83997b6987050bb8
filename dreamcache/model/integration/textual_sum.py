"""Textual sum: the reference is read as further text, as in IP-Adapter's decoupled cross-attention (arXiv 2308.06721).

    F' = LayerNorm(Linear_{C -> W}(F))                                   tokens of the text's width W
    x  = x + Out( Attention(q, K T, V T) + Attention(q, K' F', V' F') )   q, K, V, Out: the base's own, frozen

The paper says 19 M and no more. K', V' at all 16 text attentions of SD 1.5 are 19.2 M, which is our reading of it; at
the five default places they are 6.4 M. The projection to tokens comes on top (9.6 M and 3.2 M).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from dreamcache.model.integration.base import Integration, KeysValues, PlaceShape, Point


class TextualSum(Integration):
    """Text attention plus reference, by the same queries; the values, zero at first, are the gate."""

    point: ClassVar[Point] = "text_attention"

    def __init__(self, shape: PlaceShape) -> None:
        super().__init__(shape)
        self.to_tokens = nn.Linear(shape.feature_channels, shape.text)
        self.norm = nn.LayerNorm(shape.text)
        self.to_k = nn.Linear(shape.text, shape.channels, bias=False)
        self.to_v = nn.Linear(shape.text, shape.channels, bias=False)
        nn.init.zeros_(self.to_v.weight)

    def project(self, feature: Tensor) -> KeysValues:
        tokens = self.norm(self.to_tokens(feature.flatten(2).transpose(1, 2)))
        return KeysValues(keys=self._split(self.to_k(tokens)), values=self._split(self.to_v(tokens)))

    def forward(self, x: Tensor, output: Tensor, memory: KeysValues, base: Any) -> Tensor:
        read = self._attend(self._split(base.to_q(x)), memory)
        return output + _without_bias(base.to_out[0], read)


def _without_bias(layer: Any, x: Tensor) -> Tensor:
    """The base's output projection; its bias is in the base's own output already."""
    if type(layer.weight) is nn.Parameter and not layer.weight.is_meta:
        return functional.linear(x, layer.weight)
    # Offloaded, or in fewer bits: only the layer's own pass has its weight as it is.
    projected: Tensor = layer(x) - layer(torch.zeros_like(x[:1, :1]))
    return projected
