"""The U-Net that reads references: the base's, or one trained with the adapter (docs/method.md section 7, S5).

An adapter's own is a copy of the base's in which only what a reading pass goes through, up to the last place, is its
own; the rest it shares with the base. Knows weights by name; knows nothing of images, losses or caches.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from dreamcache.core.errors import ModelError
from dreamcache.model.adapter_io import copy_into
from dreamcache.model.tap import tap_features
from dreamcache.model.unet import added_width, reads_added
from dreamcache.storage.bounded import read_regular
from dreamcache.storage.models.adapter import MAX_BYTES, REFERENCE_UNET, AdapterInfo


def load_reference_unet(
    info: AdapterInfo, unet: UNet2DConditionModel, dtype: torch.dtype | None = None
) -> UNet2DConditionModel:
    """The U-Net that reads references for this adapter: `unet` itself, the base's, unless it brings its own.

    dtype: of its own weights, None for the base's. Raises ModelError when its weights are not this base's.
    """
    if not info.reference_unet:
        return unet
    where = f"adapter '{info.location}', {REFERENCE_UNET}"
    try:
        tensors = load(read_regular(Path(info.location) / REFERENCE_UNET, MAX_BYTES[REFERENCE_UNET], where))
    except SafetensorError as error:
        raise ModelError(f"{where}: is damaged ({error}); train it again") from error
    wanted = read_names(unet, info.feature_places)
    return with_weights(unet, wanted, tensors, where=where, dtype=dtype)


def read_names(unet: UNet2DConditionModel, places: Iterable[str]) -> tuple[str, ...]:
    """Names of the parameters that decide the features of these places. Traced without memory or arithmetic."""
    with torch.device("meta"), torch.enable_grad():
        shadow = UNet2DConditionModel.from_config(unet.config)
        side = 2 ** len(unet.config.block_out_channels)
        latents = torch.zeros(1, unet.config.in_channels, side, side)
        text = torch.zeros(1, 1, unet.config.cross_attention_dim)
        added = torch.zeros(1, added_width(shadow)) if reads_added(shadow) else None
        features = tap_features(shadow, latents, torch.zeros(1), text, list(places), added)
        total = torch.stack([value.sum() for value in features.values()]).sum()
    names, parameters = zip(*shadow.named_parameters(), strict=True)
    reached = torch.autograd.grad(total, parameters, allow_unused=True)
    return tuple(name for name, gradient in zip(names, reached, strict=True) if gradient is not None)


def own_weights(unet: UNet2DConditionModel, places: Iterable[str]) -> dict[str, Tensor]:
    """The weights by name of a reference U-Net that decide the features of these places, as they are stored."""
    own = set(read_names(unet, places))
    return {name: parameter.detach() for name, parameter in unet.named_parameters() if name in own}


def own_copy(
    unet: UNet2DConditionModel, names: Iterable[str], dtype: torch.dtype | None = None
) -> UNet2DConditionModel:
    """A copy of `unet` whose parameters of these names are its own, in `dtype` or the base's; the rest is shared."""
    own = set(names)
    shared = {id(p): p for name, p in unet.named_parameters() if name not in own}
    copied = copy.deepcopy(unet, shared)
    for name, parameter in copied.named_parameters():
        if name in own and dtype is not None:
            parameter.data = parameter.data.to(dtype)
    return copied


def with_weights(
    unet: UNet2DConditionModel,
    names: Iterable[str],
    tensors: Mapping[str, Tensor],
    *,
    where: str,
    dtype: torch.dtype | None = None,
) -> UNet2DConditionModel:
    """`own_copy` with these weights; every name and shape must match. Raises ModelError."""
    own = set(names)
    copied = own_copy(unet, own, dtype)
    copy_into({name: p for name, p in copied.named_parameters() if name in own}, tensors, where=where)
    return copied
