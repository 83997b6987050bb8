"""Reading features: the hidden state entering the spatial transformer of each place (METHOD section 1).

One forward pass of the plain U-Net; no adapter is active. Knows nothing of images or storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from dreamcache.model.places import transformer_at
from dreamcache.model.unet import decoder_half, encoder_half


@contextmanager
def tapping(unet: UNet2DConditionModel, places: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collects {place: [B, C, h, w]} from the forward passes made inside the block."""
    features: dict[str, Tensor] = {}

    def keep(place: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            features[place] = args[0] if args else kwargs["hidden_states"]

        return hook

    handles = [
        transformer_at(unet, place).register_forward_pre_hook(keep(place), with_kwargs=True)
        for place in places
    ]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def tap_features(
    unet: UNet2DConditionModel, latents: Tensor, timestep: Tensor | int, text: Tensor, places: Sequence[str]
) -> dict[str, Tensor]:
    """Features of noised reference latents [B, 4, h, w] under text [B, tokens, width], by place."""
    with tapping(unet, places) as features:
        decoder_half(unet, encoder_half(unet, latents, timestep, text), text)
    return {place: features[place] for place in places}
