"""Reading features: the hidden state entering the spatial transformer of each place (docs/method.md section 1).

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


class _AllRead(Exception):  # noqa: N818 - not an error
    """Ends a pass whose rest nobody reads."""


@contextmanager
def tapping(unet: UNet2DConditionModel, places: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collects {place: [B, C, h, w]} from one forward pass made inside the block, and ends it after the last place."""
    features: dict[str, Tensor] = {}

    def keep(place: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            features[place] = args[0] if args else kwargs["hidden_states"]
            if len(features) == len(set(places)):
                raise _AllRead

        return hook

    handles = [
        transformer_at(unet, place).register_forward_pre_hook(keep(place), with_kwargs=True)
        for place in places
    ]
    try:
        yield features
    except _AllRead:
        pass
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
