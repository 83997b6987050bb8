"""Places: where features are read and injected, named by the module name of a `Transformer2DModel`.

Knows the layout of a diffusers `UNet2DConditionModel`; knows nothing of features or adapters' weights.
"""

from __future__ import annotations

from collections.abc import Iterable

from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from dreamcache.core.config import FeatureSource
from dreamcache.core.errors import ModelError, did_you_mean
from dreamcache.model.integration import PlaceShape
from dreamcache.storage.models.adapter import feature_places

PARTS = {"encoder": "down_blocks", "middle": "mid_block", "decoder": "up_blocks"}


def transformer_at(unet: UNet2DConditionModel, place: str) -> Transformer2DModel:
    """The spatial transformer at `place`. Raises ModelError naming the places that exist."""
    try:
        module = unet.get_submodule(place)
    except AttributeError:
        module = None
    if not isinstance(module, Transformer2DModel):
        known = all_places(unet)
        raise ModelError(
            f"place '{place}': not a spatial transformer of this U-Net{did_you_mean(place, known)}; "
            f"it has {', '.join(known)}"
        )
    return module


def all_places(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """Every spatial transformer in forward order: encoder half, middle, decoder half."""
    names = [name for name, module in unet.named_modules() if isinstance(module, Transformer2DModel)]
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    return tuple(sorted(names, key=lambda name: (order[name.split(".")[0]], name)))


def default_places(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """The paper's choice: the middle block and every second decoder transformer (numbers 1, 3, 5, 7)."""
    return chosen_places(unet, ("middle", "decoder"), every=2)


def place_shapes(
    unet: UNet2DConditionModel, places: Iterable[str], features: FeatureSource = "own"
) -> dict[str, PlaceShape]:
    """Widths and heads of the transformer block at each place, and the channels of the features it reads."""
    shapes = {}
    for place in places:
        block = transformer_at(unet, place).transformer_blocks[0]
        source = transformer_at(unet, feature_places((place,), features)[0])
        shapes[place] = PlaceShape(
            channels=block.attn1.to_q.in_features,
            heads=block.attn1.heads,
            text=block.attn2.to_k.in_features,
            feature=source.in_channels,
        )
    return shapes


def feature_shapes(
    unet: UNet2DConditionModel, places: Iterable[str], latent: tuple[int, int]
) -> dict[str, tuple[int, ...]]:
    """[C, h, w] of the features tapped at each place. latent: (h, w) of the reference's latent."""
    sizes, level = [latent], 0
    at: dict[str, tuple[int, int]] = {}
    for number, block in enumerate(unet.down_blocks):
        at[f"down_blocks.{number}"] = sizes[level]
        if getattr(block, "downsamplers", None):
            height, width = sizes[level]
            sizes.append(((height + 1) // 2, (width + 1) // 2))
            level += 1
    at["mid_block"] = sizes[level]
    for number, block in enumerate(unet.up_blocks):
        at[f"up_blocks.{number}"] = sizes[level]
        if getattr(block, "upsamplers", None):
            level -= 1
    return {
        place: (transformer_at(unet, place).in_channels, *at[place.partition(".attentions")[0]])
        for place in places
    }


def reach_the_encoder(places: Iterable[str]) -> bool:
    """Whether an image enters the encoder half, so that branches of guidance with the same text cannot share it."""
    return any(place.startswith("down_blocks") for place in places)


def chosen_places(unet: UNet2DConditionModel, parts: Iterable[str], every: int) -> tuple[str, ...]:
    """The middle block's and every n-th transformer of each half, in forward order (docs/method.md section 7)."""
    known = all_places(unet)
    chosen: list[str] = []
    for part, prefix in PARTS.items():
        inside = [place for place in known if place.startswith(prefix)] if part in parts else []
        chosen += inside if part == "middle" else inside[every - 1 :: every]
    return tuple(chosen)
