"""BLIP-Diffusion's Q-Former and context text encoder once more, from their weights with torch alone.

What transformers 4 computed, whose classes diffusers' code was written for: self-attention over queries and words under
a padding mask, cross-attention of the queries to the photo, own feed-forward for each, then the projection.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

Weights = dict[str, Tensor]


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """[n, width] x [m, width] -> [n, width]; mask [n, m] is added to the scores."""
    width = q.shape[-1] // heads
    parts = []
    for head in range(heads):
        at = slice(head * width, (head + 1) * width)
        scores = q[:, at] @ k[:, at].T / width**0.5
        parts.append((scores if mask is None else scores + mask).softmax(-1) @ v[:, at])
    return torch.cat(parts, dim=-1)


def photo_tokens(w: Weights, pixels: Tensor, *, heads: int, layers: int, patch: int) -> Tensor:
    """[3, h, w] -> [1 + patches, width]."""
    e = "visual_encoder."
    kernel = w[e + "embeddings.patch_embedding.weight"]
    cut = torch.nn.functional.conv2d(pixels[None], kernel, stride=patch)[0].flatten(1).T
    x = torch.cat([w[e + "embeddings.class_embedding"][0], cut]) + w[e + "embeddings.position_embedding"][0]
    x = _norm(w, e + "pre_layernorm", x, 1e-6)
    for number in range(layers):
        name = f"{e}encoder.layers.{number}."
        q, k, v = _linear(w, name + "self_attn.qkv", _norm(w, name + "layer_norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + _linear(w, name + "self_attn.projection", _attend(q, k, v, heads))
        hidden = _linear(w, name + "mlp.fc1", _norm(w, name + "layer_norm2", x, 1e-6))
        x = x + _linear(w, name + "mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))
    return _norm(w, e + "post_layernorm", x, 1e-6)


def queries(w: Weights, pixels: Tensor, words: list[int], *, heads: int, layers: int, patch: int) -> Tensor:
    """The photo and the tokens of its class -> [queries, width]."""
    photo = photo_tokens(w, pixels, heads=heads, layers=layers, patch=patch)
    count = w["query_tokens"].shape[1]
    text = (
        w["embeddings.word_embeddings.weight"][words]
        + w["embeddings.position_embeddings.weight"][: len(words)]
    )
    x = _norm(w, "embeddings.LayerNorm", torch.cat([w["query_tokens"][0], text]), 1e-12)

    def attention(name: str, at: Tensor, seen: Tensor) -> Tensor:
        q, k, v = (_linear(w, f"{name}.attention.{part}", y) for part, y in
                   (("query", at), ("key", seen), ("value", seen)))  # fmt: skip
        out = _linear(w, f"{name}.output.dense", _attend(q, k, v, heads))
        return _norm(w, f"{name}.output.LayerNorm", out + at, 1e-12)

    def forward(name: str, suffix: str, at: Tensor) -> Tensor:
        hidden = gelu(_linear(w, f"{name}.intermediate{suffix}.dense", at))
        out = _linear(w, f"{name}.output{suffix}.dense", hidden)
        return _norm(w, f"{name}.output{suffix}.LayerNorm", out + at, 1e-12)

    for number in range(layers):
        name = f"encoder.layer.{number}"
        x = attention(f"{name}.attention", x, x)
        asked, said = x[:count], x[count:]
        if number % 2 == 0:
            asked = attention(f"{name}.crossattention", asked, photo)
        x = torch.cat([forward(name, "_query", asked), forward(name, "", said)])
    asked = x[:count]
    hidden = _linear(w, "proj_layer.dense1", _norm(w, "proj_layer.LayerNorm", asked, 1e-12))
    return _linear(w, "proj_layer.dense2", hidden * torch.sigmoid(1.702 * hidden)) + asked


def context_text(
    w: Weights, words: list[int], context: Tensor | None, *, at: int, heads: int, layers: int
) -> Tensor:
    """A prompt's tokens with the photo's put in at `at` -> [tokens, width], each seeing only what stands before it."""
    e = "text_model."
    x = w[e + "embeddings.token_embedding.weight"][words]
    if context is not None:
        x = torch.cat([x[:at], context, x[at:]])
    x = x + w[e + "embeddings.position_embedding.weight"][: len(x)]
    causal = torch.full((len(x), len(x)), -torch.inf).triu(1)
    for number in range(layers):
        name = f"{e}encoder.layers.{number}."
        y = _norm(w, name + "layer_norm1", x, 1e-5)
        q, k, v = (_linear(w, f"{name}self_attn.{part}_proj", y) for part in "qkv")
        x = x + _linear(w, name + "self_attn.out_proj", _attend(q, k, v, heads, causal))
        hidden = _linear(w, name + "mlp.fc1", _norm(w, name + "layer_norm2", x, 1e-5))
        x = x + _linear(w, name + "mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))
    return _norm(w, e + "final_layer_norm", x, 1e-5)
