"""What all integrations share: a place's shape, keys and values of its features, and the attention that reads them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as functional
from torch import Tensor, nn

Point = Literal["self_attention", "text_attention", "block"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceShape:
    """Widths and heads of the transformer block at one place, read off the base U-Net.

    text: width of the text embedding. feature: channels of the feature map read there, 0 for the block's own.
    """

    channels: int
    heads: int
    text: int = 0
    feature: int = 0

    @property
    def feature_channels(self) -> int:
        return self.feature or self.channels


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


class Integration(nn.Module):
    """The adapter of one place. A new one leaves the block as it is: training starts from the base model.

    point: the module of the transformer block whose output it replaces. on_read: told of queries and keys, each [B,
    heads, tokens, C / heads], of every reading of a reference; for those who want to see where it looks.
    """

    point: ClassVar[Point]
    on_read: Callable[[Tensor, Tensor], None] | None

    def __init__(self, shape: PlaceShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.on_read = None

    @abstractmethod
    def project(self, feature: Tensor) -> KeysValues:
        """Keys and values of a feature map [B, C, h, w]; needed once per subject."""

    @abstractmethod
    def forward(self, x: Tensor, output: Tensor, memory: KeysValues, base: Any) -> Tensor:
        """What takes the place of `output`, the output of the module `base` at `point`; all tensors [B, tokens, C].

        x: the input of the text attention where that is the point, else the input of the block.
        """

    def _split(self, tokens: Tensor) -> Tensor:
        """[B, tokens, C] -> [B, heads, tokens, C / heads]"""
        heads: Tensor = tokens.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)

    def _attend(self, query: Tensor, memory: KeysValues) -> Tensor:
        """softmax(q k^T / sqrt(d)) v of split queries, joined again to [B, tokens, C]."""
        if self.on_read is not None:
            self.on_read(query, memory.keys)
        read = functional.scaled_dot_product_attention(query, memory.keys, memory.values)
        return read.transpose(1, 2).flatten(2)


class ReferenceAttention(Integration):
    """A cross-attention of its own, 4 C^2 and a norm: m = Out(Attention(q = LayerNorm(x), k = v = F))."""

    def __init__(self, shape: PlaceShape) -> None:
        super().__init__(shape)
        width, given = shape.channels, shape.feature_channels
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(given, width, bias=False)
        self.to_v = nn.Linear(given, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def project(self, feature: Tensor) -> KeysValues:
        tokens = feature.flatten(2).transpose(1, 2)
        return KeysValues(keys=self._split(self.to_k(tokens)), values=self._split(self.to_v(tokens)))

    def read(self, x: Tensor, memory: KeysValues) -> Tensor:
        """m, [B, tokens, C]."""
        memory_output: Tensor = self.to_out(self._attend(self._split(self.to_q(self.norm(x))), memory))
        return memory_output
