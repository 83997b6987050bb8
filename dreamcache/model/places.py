"""Places: where features are read and injected, named by a module of a diffusers `UNet2DConditionModel`.

    mid_block.attentions.0                         a spatial transformer: what enters it; its first block reads
    up_blocks.0.attentions.1.transformer_blocks.4  one block of a transformer with several: what enters it; it reads

Knows the layout of the U-Net; knows nothing of features or adapters' weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from dreamcache.core.config import FeatureSource
from dreamcache.core.errors import ModelError, did_you_mean
from dreamcache.model.integration import PlaceShape
from dreamcache.storage.models.adapter import feature_places

PARTS = {"encoder": "down_blocks", "middle": "mid_block", "decoder": "up_blocks"}
BLOCK = ".transformer_blocks."


def transformer_at(unet: UNet2DConditionModel, place: str) -> Transformer2DModel:
    """The spatial transformer at `place`, or around it. Raises ModelError naming the places that exist."""
    module = _module(unet, place.partition(BLOCK)[0])
    if not isinstance(module, Transformer2DModel):
        _refuse(unet, place, "not a spatial transformer of this U-Net")
    return module


def block_at(unet: UNet2DConditionModel, place: str) -> BasicTransformerBlock:
    """The transformer block that reads a reference at `place`: the one it names, or the first. Raises ModelError."""
    blocks = transformer_at(unet, place).transformer_blocks
    number = place.partition(BLOCK)[2] if BLOCK in place else "0"
    if not (number.isascii() and number.isdigit() and int(number) < len(blocks)):
        _refuse(unet, place, f"the transformer there has the blocks 0 to {len(blocks) - 1}")
    return blocks[int(number)]


def names_a_block(place: str) -> bool:
    """Whether a place is one block of a transformer, so that its feature is what enters that block."""
    return BLOCK in place


def all_places(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """A place for each spatial transformer, in forward order: itself, or its first block where it has several."""
    names = [
        name if len(module.transformer_blocks) == 1 else f"{name}{BLOCK}0"
        for name, module in unet.named_modules()
        if isinstance(module, Transformer2DModel)
    ]
    return in_forward_order(names)


def in_forward_order(places: Iterable[str]) -> tuple[str, ...]:
    """Encoder half, middle, decoder half; each once."""
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}

    def rank(place: str) -> tuple[int, list[int]]:
        parts = place.split(".")
        return order.get(parts[0], 3), [int(part) for part in parts if part.isdecimal()]

    return tuple(sorted(set(places), key=rank))


def _module(unet: UNet2DConditionModel, name: str) -> object:
    try:
        return unet.get_submodule(name)
    except AttributeError:
        return None


def _refuse(unet: UNet2DConditionModel, place: str, reason: str) -> NoReturn:
    known = all_places(unet)
    raise ModelError(f"place '{place}': {reason}{did_you_mean(place, known)}; it has {', '.join(known)}")


def default_places(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """The paper's choice: the middle block and every second decoder transformer (numbers 1, 3, 5, 7)."""
    return chosen_places(unet, ("middle", "decoder"), every=2)


def place_shapes(
    unet: UNet2DConditionModel, places: Iterable[str], features: FeatureSource = "own"
) -> dict[str, PlaceShape]:
    """Widths and heads of the transformer block at each place, and the channels of the features it reads.

    Raises ModelError for two places that are one block.
    """
    shapes: dict[str, PlaceShape] = {}
    named: dict[int, str] = {}
    for place in places:
        block = block_at(unet, place)
        if named.setdefault(id(block), place) != place:
            raise ModelError(f"places '{named[id(block)]}' and '{place}': name the same block; leave one out")
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
