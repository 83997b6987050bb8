"""Embeddings that a caller gives in the place of prompts: one row per image, as this base's U-Net reads them.

Part of `inputs`, before any pass of a model. Knows what a pipeline was built of; embeds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamcache.inference.rules import Spread, check_embeds, refuse
from dreamcache.model.unet import pooled_width

if TYPE_CHECKING:
    from dreamcache.inference.parts import PipelineParts


def spread_embeds(pipe: PipelineParts, embeds: Tensor | None, name: str, spread: Spread) -> Tensor | None:
    """[images, tokens, width] of [prompts, tokens, width]; None for None. Raises InputError."""
    if embeds is None:
        return None
    check_embeds(embeds, name)
    if embeds.shape[2] != pipe.text_width:
        refuse(
            name,
            f"embeddings of width {pipe.text_width}, the base model's",
            embeds.shape[2],
            f"embed the prompts with the text model of '{pipe.info.name}'",
        )
    if not bool(torch.isfinite(embeds).all()):
        refuse(name, "finite numbers", "NaN or infinity", "look at how the embeddings were computed")
    rows = spread(list(embeds), name)
    return torch.stack(rows)


def spread_pooled(
    pipe: PipelineParts, pooled: Tensor | None, embeds: Tensor | None, name: str, spread: Spread
) -> Tensor | None:
    """[images, P] beside embeddings, for a base that reads pooled text; None for others. Raises InputError."""
    width = pooled_width(pipe.base.unet)
    if embeds is None or not width:
        if pooled is not None:
            rule = "left out for a base that reads no pooled text" if not width else "given beside embeddings"
            refuse(name, rule, "a value", "give the prompt itself")
        return None
    shape = (len(embeds), width)
    if not isinstance(pooled, Tensor) or tuple(pooled.shape) != shape or not pooled.is_floating_point():
        got = f"shape {tuple(pooled.shape)}" if isinstance(pooled, Tensor) else f"a {type(pooled).__name__}"
        refuse(name, f"a float tensor {list(shape)}", got, "take it from pipe.base.encode_prompt")
    if not bool(torch.isfinite(pooled).all()):
        refuse(name, "finite numbers", "NaN or infinity", "look at how the embeddings were computed")
    return torch.stack(spread(list(pooled), name))
