"""What diffusers' BLIP-Diffusion calls in transformers and version 5 has no more, put back for one loaded model.

diffusers keeps the pipeline as it was written for transformers 4. Version 5 has dropped two methods of models;
attention blocks take other arguments and return a tensor where they returned a tuple; and CLIP's encoder takes the
causal mask as its attention mask, passing over the old argument in silence. So these parts of a loaded model are
wrapped in what answers as before. The weights are its own, and no class of a library is changed. Knows these classes.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from diffusers.pipelines.deprecated.blip_diffusion.modeling_blip2 import Blip2QFormerModel
from diffusers.pipelines.deprecated.blip_diffusion.modeling_ctx_clip import ContextCLIPTextModel
from torch import Tensor, nn


def restore_qformer(model: Blip2QFormerModel) -> Blip2QFormerModel:
    """Makes a loaded Q-Former behave as under transformers 4."""
    model.invert_attention_mask = MethodType(_invert_attention_mask, model)
    model.get_head_mask = MethodType(_get_head_mask, model)
    for layer in model.encoder.layer:
        layer.attention = _Attention(layer.attention)
        if layer.has_cross_attention:
            layer.crossattention = _Attention(layer.crossattention)
    return model


def restore_text_encoder(model: ContextCLIPTextModel) -> ContextCLIPTextModel:
    """Makes a loaded text model attend from left to right again."""
    model.text_model.encoder = _Encoder(model.text_model.encoder)
    return model


def _invert_attention_mask(model: Any, mask: Tensor) -> Tensor:
    """[B, n] of ones and zeros -> what is added to scores: 0 where a token is seen, the least number elsewhere."""
    return (1.0 - mask[:, None, None, :].to(model.dtype)) * torch.finfo(model.dtype).min


def _get_head_mask(model: Any, head_mask: None, layers: int) -> list[None]:
    if head_mask is not None:
        raise ValueError("head_mask must be None: transformers 5 has no masks of heads")
    return [None] * layers


class _Attention(nn.Module):
    """Blip2QFormerAttention with the arguments and the tuple of transformers 4."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_value: None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, None]:
        output = self.block(hidden_states, attention_mask, encoder_hidden_states, encoder_attention_mask)
        return output, None  # the second is the key-value cache; a single pass has none


class _Encoder(nn.Module):
    """CLIPEncoder with the causal mask as an argument of its own."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        causal_attention_mask: Tensor | None = None,
        **unused: Any,
    ) -> Any:
        masks = [mask for mask in (attention_mask, causal_attention_mask) if mask is not None]
        joined = torch.stack(torch.broadcast_tensors(*masks)).amin(dim=0) if masks else None
        return self.encoder(inputs_embeds=inputs_embeds, attention_mask=joined)
