"""Places: where features are read and injected, named by the module name of a `Transformer2DModel`.

Knows the layout of a diffusers `UNet2DConditionModel`; knows nothing of features or adapters' weights.
"""

from __future__ import annotations

from collections.abc import Iterable

from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from dreamcache.errors import ModelError, did_you_mean
from dreamcache.model.adapter import PlaceShape


def transformer_at(unet: UNet2DConditionModel, place: str) -> Transformer2DModel:
    """The spatial transformer at `place`. Raises ModelError naming the places that exist."""
    known = all_places(unet)
    if place not in known:
        raise ModelError(
            f"place '{place}': not a spatial transformer of this U-Net{did_you_mean(place, known)}; "
            f"it has {', '.join(known)}"
        )
    module = unet.get_submodule(place)
    assert isinstance(module, Transformer2DModel)
    return module


def all_places(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """Every spatial transformer in forward order: encoder half, middle, decoder half."""
    found = [name for name, module in unet.named_modules() if isinstance(module, Transformer2DModel)]
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    return tuple(sorted(found, key=lambda name: (order[name.split(".")[0]], name)))


def default_places(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """The paper's choice: the middle block and every second decoder transformer (numbers 1, 3, 5, 7)."""
    places = all_places(unet)
    middle = [place for place in places if place.startswith("mid_block")]
    decoder = [place for place in places if place.startswith("up_blocks")]
    return tuple(middle + decoder[1::2])


def place_shapes(unet: UNet2DConditionModel, places: Iterable[str]) -> dict[str, PlaceShape]:
    """Width and heads of the transformer block at each place."""
    shapes = {}
    for place in places:
        attention = transformer_at(unet, place).transformer_blocks[0].attn1
        shapes[place] = PlaceShape(channels=attention.to_q.in_features, heads=attention.heads)
    return shapes


def check_reachable(places: Iterable[str]) -> None:
    """Raises ModelError for a place in the encoder half, which guidance's branches share: no image enters there."""
    inside = [place for place in places if place.startswith("down_blocks")]
    if inside:
        raise ModelError(f"place '{inside[0]}': adapters act in the middle and decoder half only")
