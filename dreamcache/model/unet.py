"""The U-Net in two halves, so that branches of guidance with the same text share the first (docs/method.md section 8).

The image condition enters at the middle block and in the decoder half only, so the encoder half depends on
latents, timestep and text alone. The two halves together are `UNet2DConditionModel.forward` of the layouts of SD 1.x,
SD 2.x and SDXL. Knows nothing of adapters: they act through hooks (see `inject`).
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


TEXT_TIME = "text_time"
"""`addition_embed_type` of SDXL: pooled text and size ids are added to the time embedding."""

SIZES = 6
"""Size ids of an image."""


def check_layout(unet: UNet2DConditionModel, addition: str | None = None) -> None:
    """Raises ModelError for a U-Net of another layout. addition: its `addition_embed_type`, None for SD 1.x and 2.x."""
    config = unet.config
    extras = ("encoder_hid_dim_type", "class_embed_type", "time_cond_proj_dim")
    unsupported = {name: config.get(name) for name in extras if config.get(name) is not None}
    if config.get("addition_embed_type") != addition:
        unsupported["addition_embed_type"] = config.get("addition_embed_type")
    if unsupported or config.get("center_input_sample"):
        layout = "SDXL layout is" if addition else "SD 1.x and 2.x layouts are"
        raise ModelError(f"base U-Net: only the {layout} supported, got {unsupported}")


def reads_added(unet: UNet2DConditionModel) -> bool:
    """Whether passes of this U-Net need `added`."""
    return bool(unet.config.get("addition_embed_type") == TEXT_TIME)


def added_input(unet: UNet2DConditionModel, pooled: Tensor, sizes: Tensor) -> Tensor:
    """[B, D], what SDXL's U-Net adds to its time embedding after two layers of its own.

    pooled: [B, P], of the second text encoder. sizes: [B, 6] float32, height and width of the original image, its top
    and left crop, height and width of the image that is generated; in pixels.
    """
    embedded = unet.add_time_proj(sizes.flatten()).reshape(len(sizes), -1)
    return torch.cat([pooled, embedded.to(pooled.dtype)], dim=-1)


def pooled_width(unet: UNet2DConditionModel) -> int:
    """P of the pooled text in `added`; 0 for a U-Net that reads none."""
    return added_width(unet) - SIZES * int(unet.config.addition_time_embed_dim) if reads_added(unet) else 0


def added_width(unet: UNet2DConditionModel) -> int:
    """D of `added`; 0 for a U-Net that reads none."""
    return int(unet.add_embedding.linear_1.in_features) if reads_added(unet) else 0


def encoder_half(
    unet: UNet2DConditionModel,
    latents: Tensor,
    timestep: Tensor | int,
    text: Tensor,
    added: Tensor | None = None,
) -> EncoderState:
    """conv_in and the down blocks. latents [B, 4, h, w]; text [B, tokens, width]; added: see `time_embedding`."""
    time = time_embedding(unet, latents, timestep, added)
    hidden = unet.conv_in(latents)
    skips: tuple[Tensor, ...] = (hidden,)
    for block in unet.down_blocks:
        extra = {"encoder_hidden_states": text} if _has_text(block) else {}
        hidden, outputs = block(hidden_states=hidden, temb=time, **extra)
        skips += tuple(outputs)
    return EncoderState(hidden=hidden, skips=skips, time=time)


def time_embedding(
    unet: UNet2DConditionModel, latents: Tensor, timestep: Tensor | int, added: Tensor | None = None
) -> Tensor:
    """[B, D] for each row of latents [B, 4, h, w]. added: [B, D'] of `added_input` for SDXL, None for others."""
    embedding: Tensor = unet.time_embedding(unet.get_time_embed(sample=latents, timestep=timestep))
    if added is not None:
        embedding = embedding + unet.add_embedding(added.to(embedding.dtype))
    return embedding


def decoder_half(unet: UNet2DConditionModel, state: EncoderState, text: Tensor) -> Tensor:
    """The middle block, the up blocks and conv_out: the prediction [B, 4, h, w]."""
    hidden = state.hidden
    if unet.mid_block is not None:  # distilled SDXL bases have one without text, or none
        extra = {"encoder_hidden_states": text} if _has_text(unet.mid_block) else {}
        hidden = unet.mid_block(hidden, state.time, **extra)
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
