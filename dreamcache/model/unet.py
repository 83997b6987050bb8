"""The U-Net in two halves, so that branches of guidance with the same text share the first (docs/method.md section 8).

The image condition enters at the middle block and in the decoder half only, so the encoder half depends on
latents, timestep and text alone. The two halves together are `UNet2DConditionModel.forward` of the SD 1.x and
2.x layouts. Knows nothing of adapters: they act through hooks (see `inject`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from dreamcache.core.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderState:
    """What the decoder half needs: hidden [B, C, h, w], skip connections, and the time embedding [B, D]."""

    hidden: Tensor
    skips: tuple[Tensor, ...]
    time: Tensor

    def rows(self, index: Tensor) -> EncoderState:
        """The state of the chosen rows, in the order of `index`; a row may be taken several times."""
        return EncoderState(
            hidden=self.hidden.index_select(0, index),
            skips=tuple(skip.index_select(0, index) for skip in self.skips),
            time=self.time.index_select(0, index),
        )

    def copy(self) -> EncoderState:
        """In memory of its own."""
        return EncoderState(
            hidden=self.hidden.clone(),
            skips=tuple(skip.clone() for skip in self.skips),
            time=self.time.clone(),
        )

    def last(self, count: int) -> EncoderState:
        """The state of the last so many rows."""
        return EncoderState(
            hidden=self.hidden[-count:],
            skips=tuple(skip[-count:] for skip in self.skips),
            time=self.time[-count:],
        )


def check_layout(unet: UNet2DConditionModel) -> None:
    """Raises ModelError for a U-Net that is not of the SD 1.x / 2.x layout (SDXL and such)."""
    config = unet.config
    extras = ("addition_embed_type", "encoder_hid_dim_type", "class_embed_type", "time_cond_proj_dim")
    unsupported = {name: config.get(name) for name in extras if config.get(name) is not None}
    if unsupported or config.get("center_input_sample"):
        raise ModelError(f"base U-Net: only the SD 1.x and 2.x layouts are supported, got {unsupported}")


def encoder_half(
    unet: UNet2DConditionModel, latents: Tensor, timestep: Tensor | int, text: Tensor
) -> EncoderState:
    """conv_in and the down blocks. latents [B, 4, h, w]; text [B, tokens, width]."""
    time = time_embedding(unet, latents, timestep)
    hidden = unet.conv_in(latents)
    skips: tuple[Tensor, ...] = (hidden,)
    for block in unet.down_blocks:
        extra = {"encoder_hidden_states": text} if _has_text(block) else {}
        hidden, outputs = block(hidden_states=hidden, temb=time, **extra)
        skips += tuple(outputs)
    return EncoderState(hidden=hidden, skips=skips, time=time)


def time_embedding(unet: UNet2DConditionModel, latents: Tensor, timestep: Tensor | int) -> Tensor:
    """[B, D] for each row of latents [B, 4, h, w]."""
    embedding: Tensor = unet.time_embedding(unet.get_time_embed(sample=latents, timestep=timestep))
    return embedding


def decoder_half(unet: UNet2DConditionModel, state: EncoderState, text: Tensor) -> Tensor:
    """The middle block, the up blocks and conv_out: the prediction [B, 4, h, w]."""
    hidden = unet.mid_block(state.hidden, state.time, encoder_hidden_states=text)
    skips = state.skips
    for block in unet.up_blocks:
        taken, skips = skips[-len(block.resnets) :], skips[: -len(block.resnets)]
        extra = {"encoder_hidden_states": text} if _has_text(block) else {}
        # The next skip has the size to grow to: sides need not be multiples of 8 latents, and one of 1 stays 1.
        size = skips[-1].shape[2:] if skips else None
        hidden = block(
            hidden_states=hidden, temb=state.time, res_hidden_states_tuple=taken, upsample_size=size, **extra
        )
    prediction: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    return prediction


def _has_text(block: torch.nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))
