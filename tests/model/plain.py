"""docs/method.md sections 1 to 3 once more, in plain PyTorch, from the formulas: the judge of the product's own code.

Uses diffusers' layers for the base model only. No code of dreamcache.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, head by head."""
    outputs = []
    for q, k, v in zip(query.chunk(heads, -1), key.chunk(heads, -1), value.chunk(heads, -1), strict=True):
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
        outputs.append(weights @ v)
    return torch.cat(outputs, -1)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias


class PlainModel:
    """e(x, t, cI, cT) with one full U-Net pass a call.

    integration: see docs/method.md section 7. source: the place whose features all places read, None for each its own.
    normed_queries: a fault, for tests that must notice it: the adapter's queries are of norm1(x) and not of x.
    """

    def __init__(
        self,
        unet: Any,
        adapter: dict[str, Tensor],
        places: list[str],
        integration: str = "spatial_concat",
        source: str | None = None,
        normed_queries: bool = False,
    ) -> None:
        self.unet, self.adapter, self.places = unet, adapter, places
        self.integration, self.source, self.normed_queries = integration, source, normed_queries

    def features(self, latent: Tensor, timestep: int, null_text: Tensor) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}
        handles = [
            self.unet.get_submodule(place).norm.register_forward_pre_hook(
                # The group norm is the first thing a Transformer2DModel applies: its input is F.
                lambda module, args, place=place: kept.__setitem__(place, args[0])
            )
            for place in self.places
        ]
        self.unet(latent, timestep, null_text)
        for handle in handles:
            handle.remove()
        return kept

    def __call__(self, x: Tensor, t: Tensor, image: dict[str, Tensor] | None, text: Tensor) -> Tensor:
        blocks = {place: self.unet.get_submodule(place).transformer_blocks[0] for place in self.places}
        if image is not None:
            for place, block in blocks.items():
                block.forward = self._block(place, block, image[self.source or place])
        try:
            return self.unet(x, t, text).sample
        finally:
            for block in blocks.values():
                block.__dict__.pop("forward", None)

    def _block(self, place: str, block: Any, feature: Tensor) -> Any:
        weights = {
            name.removeprefix(place + "."): w
            for name, w in self.adapter.items()
            if name.startswith(place + ".")
        }
        heads = block.attn1.heads
        batch, channels = feature.shape[:2]
        tokens = feature.reshape(batch, channels, -1).permute(0, 2, 1)

        def linear(name: str, x: Tensor) -> Tensor:
            return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

        def norm(name: str, x: Tensor) -> Tensor:
            return layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def memory(x: Tensor) -> Tensor:
            query = linear("to_q", norm("norm", x))
            return linear("to_out", attention(query, linear("to_k", tokens), linear("to_v", tokens), heads))

        def forward(x: Tensor, *args: Any, encoder_hidden_states: Tensor, **kwargs: Any) -> Tensor:
            spatial = block.attn1(block.norm1(x))
            if self.integration == "spatial_concat":
                read = memory(block.norm1(x) if self.normed_queries else x)
                spatial = linear("join", torch.cat([spatial, read], -1))
            elif self.integration == "spatial_sum":
                spatial = spatial + memory(x)
            x = x + spatial
            normed = block.norm2(x)
            x = x + block.attn2(normed, encoder_hidden_states=encoder_hidden_states)
            if self.integration == "textual_sum":
                as_text = norm("norm", linear("to_tokens", tokens))
                query = normed @ block.attn2.to_q.weight.T
                read = attention(query, linear("to_k", as_text), linear("to_v", as_text), heads)
                x = x + read @ block.attn2.to_out[0].weight.T
            y = x + block.ff(block.norm3(x))
            if self.integration == "decoupled":
                hidden = linear("proj_in", y)
                hidden = hidden + memory(hidden)
                wide = linear("feed_forward.1", norm("feed_forward.0", hidden))
                hidden = hidden + linear("feed_forward.3", wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2))))
                y = y + linear("proj_out", hidden)
            return y

        return forward


def ddim_step(x: Tensor, e: Tensor, a_t: Tensor, a_before: Tensor, prediction_type: str) -> Tensor:
    """One deterministic DDIM step; a_t, a_before are cumulative products of alpha."""
    if prediction_type == "epsilon":
        x0 = (x - (1 - a_t).sqrt() * e) / a_t.sqrt()
        noise = e
    else:
        x0 = a_t.sqrt() * x - (1 - a_t).sqrt() * e
        noise = a_t.sqrt() * e + (1 - a_t).sqrt() * x
    return a_before.sqrt() * x0 + (1 - a_before).sqrt() * noise
