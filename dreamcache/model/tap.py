"""Reading features: the hidden state entering the module of each place (docs/method.md section 1).

One forward pass of the plain U-Net; no adapter is active. Knows nothing of images or storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from dreamcache.model.places import block_at, names_a_block, transformer_at
from dreamcache.model.unet import decoder_half, encoder_half


class _AllRead(Exception):  # noqa: N818 - not an error
    """Ends a pass whose rest nobody reads."""


@contextmanager
def tapping(unet: UNet2DConditionModel, places: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collects {place: [B, C, h, w]} from one forward pass made inside the block, and ends it after the last place."""
    features: dict[str, Tensor] = {}

    grids: dict[nn.Module, tuple[int, int]] = {}

    def see_grid(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        height, width = _entering(args, kwargs).shape[-2:]
        grids[module] = (height, width)

    def keep(place: str) -> Any:
        around = transformer_at(unet, place)

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            entering = _entering(args, kwargs)
            if module is not around:  # a block's tokens, as a map again
                entering = entering.transpose(1, 2).unflatten(2, grids[around]).contiguous()
            features[place] = entering
            if len(features) == len(set(places)):
                raise _AllRead

        return hook

    handles = []
    for place in places:
        module = transformer_at(unet, place)
        if names_a_block(place):
            handles.append(module.register_forward_pre_hook(see_grid, with_kwargs=True))
            module = block_at(unet, place)
        handles.append(module.register_forward_pre_hook(keep(place), with_kwargs=True))
    try:
        yield features
    except _AllRead:
        pass
    finally:
        for handle in handles:
            handle.remove()


def _entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    entering: Tensor = args[0] if args else kwargs["hidden_states"]
    return entering


def tap_features(
    unet: UNet2DConditionModel,
    latents: Tensor,
    timestep: Tensor | int,
    text: Tensor,
    places: Sequence[str],
    added: Tensor | None = None,
) -> dict[str, Tensor]:
    """Features of noised reference latents [B, 4, h, w] under text [B, tokens, width], by place.

    added: see `unet.time_embedding`.
    """
    with tapping(unet, places) as features:
        decoder_half(unet, encoder_half(unet, latents, timestep, text, added), text)
    return {place: features[place] for place in places}
