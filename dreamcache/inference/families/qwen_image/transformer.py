"""Qwen-Image 2.1's transformer continued behind stored keys and values: text of a prompt, then the target, row by row.

    prefix (photos) | tail (a prompt's text, causal, timestep 0) | target (reads all, its own timestep)

diffusers has no call to continue a prefix, and its cached mode gives all rows of a batch one layout: a prompt that is
padded would move its target. Here each row has positions of its own, and a mask of the keys that are its. Knows blocks
and attention; knows nothing of prompts or photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import QwenImage21Transformer2DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_qwenimage21 import (
    QwenImage21AttnProcessor,
    _qwenimage21_prepare_qkv,
)
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]
"""Of one block: each [B, tokens, heads, head size], after the rotary embedding."""


@dataclass(kw_only=True, slots=True)
class Before:
    """What one block's attention reads before its own tokens. own: keys and values of the tokens of the last pass."""

    parts: Sequence[KeysValues]
    own: KeysValues | None = None


class RowAttention(QwenImage21AttnProcessor):  # type: ignore[misc]
    """Attention behind `Before`, with rotary embeddings [B, tokens, head size / 2]; else as the model's own."""

    def __call__(
        self,
        attn: torch.nn.Module,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        rotary_emb: Tensor | None = None,
        layer_cache: object = None,
        **others: object,
    ) -> Tensor:
        if not isinstance(layer_cache, Before):
            output: Tensor = super().__call__(
                attn, hidden_states, attention_mask, rotary_emb, layer_cache, **others
            )
            return output
        assert rotary_emb is not None
        query, key, value, _ = _qwenimage21_prepare_qkv(attn, hidden_states, None, None, None, None)
        query, key = _rotated(query, rotary_emb), _rotated(key, rotary_emb)
        layer_cache.own = (key, value)
        keys, values = (
            torch.cat([*(part[kind] for part in layer_cache.parts), layer_cache.own[kind]], dim=1)
            for kind in (0, 1)
        )
        read = dispatch_attention_fn(query, keys, values, attn_mask=attention_mask)
        linear, dropout = attn.get_submodule("to_out.0"), attn.get_submodule("to_out.1")
        joined: Tensor = dropout(linear(read.flatten(2, 3).type_as(query)))
        return joined


def text_rope(model: QwenImage21Transformer2DModel, start: int, length: int) -> Tensor:
    """[1, length, head size / 2] of text tokens from position `start`."""
    device = model.device
    nowhere = torch.zeros(start + length, dtype=torch.bool, device=device)
    rope: Tensor = model.pos_embed([], nowhere, device=device)
    return rope[None, start:]


def target_rope(model: QwenImage21Transformer2DModel, start: int, height: int, width: int) -> Tensor:
    """[1, height x width, head size / 2] of a target behind `start` positions; sides in tokens."""
    device = model.device
    is_image = torch.zeros(start + height * width, dtype=torch.bool, device=device)
    is_image[start:] = True
    rope: Tensor = model.pos_embed([(1, height, width)], is_image, device=device)
    return rope[None, start:]


def tail(
    model: QwenImage21Transformer2DModel, states: Tensor, before: Sequence[KeysValues], start: int
) -> list[KeysValues]:
    """Keys and values by block of a prompt's text behind `before`: states [1, tokens, width], from position `start`."""
    length, stored = states.shape[1], before[0][0].shape[1]
    causal = torch.ones(length, stored + length, dtype=torch.bool, device=states.device).tril(stored)
    layers = [Before(parts=(one,)) for one in before]
    x = model.txt_in(states)
    embedded = model.time_text_embed(torch.zeros(1, device=x.device, dtype=x.dtype), x)
    _blocks(model, x, model.modulation(embedded), text_rope(model, start, length), layers, causal[None, None])
    return [layer.own for layer in layers if layer.own is not None]


def velocity(
    model: QwenImage21Transformer2DModel,
    x: Tensor,
    timestep: Tensor,
    rope: Tensor,
    layers: Sequence[Before],
    is_read: Tensor,
) -> Tensor:
    """Of packed latents x [B, tokens, C] at `timestep` [B] in 0..1. is_read: [B, 1, 1, keys], the keys of each row."""
    hidden = model.img_in(x)
    embedded = model.time_text_embed(timestep.to(hidden.dtype), hidden)
    hidden = _blocks(model, hidden, model.modulation(embedded), rope, layers, is_read)
    predicted: Tensor = model.proj_out(model.norm_out(hidden, embedded, None))
    return predicted


def _blocks(
    model: QwenImage21Transformer2DModel,
    x: Tensor,
    modulation: Tensor,
    rope: Tensor,
    layers: Sequence[Before],
    mask: Tensor,
) -> Tensor:
    for block, layer in zip(model.transformer_blocks, layers, strict=True):
        x = block(
            hidden_states=x,
            modulation=modulation,
            rotary_emb=rope,
            attention_mask=mask,
            target_token_mask=None,
            layer_cache=layer,
            kv_cache_mode="cached",
        )
    return x


def _rotated(x: Tensor, rope: Tensor) -> Tensor:
    """As the model's own, with positions that rows have of their own: x [B, tokens, heads, head size]."""
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rope[:, :, None]).flatten(3).type_as(x)
