"""What a training begins with: a base that is ready, an adapter, and a U-Net that learns to read references; the latter
two new or from an adapter folder.

The same in every process. Knows the settings and what an adapter folder holds.
"""

from __future__ import annotations

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from dreamcache.core.config.train import TrainSettings
from dreamcache.core.errors import SpecError
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import load_adapter
from dreamcache.model.places import place_shapes
from dreamcache.model.reference_unet import load_reference_unet, own_copy, read_names
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.training.loss import trained_places

PLAIN_ATTENTION = 32
"""Sides of latents up to which a CPU trains with plain attention: the fused kernel's backward pass takes twice its time
there. Beyond, the maps of attention would need too much memory."""


def prepare_base(base: DiffusionPipeline, info: BaseInfo, settings: TrainSettings) -> None:
    """Gradient checkpointing where it is set, and the attention that trains fastest on the base's device.

    base: a diffusers pipeline, changed in place.
    """
    if settings.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    side = (settings.size or info.native_size) // base.vae_scale_factor
    if base.unet.device.type == "cpu" and side <= PLAIN_ATTENTION:
        base.unet.set_attn_processor(AttnProcessor())


def new_adapter(
    base: DiffusionPipeline, settings: TrainSettings, start: AdapterInfo | None
) -> DreamCacheAdapter:
    """The adapter at `start`, or a new one that leaves the base as it is; the same in every process.

    base: a diffusers pipeline.
    """
    wanted, places = settings.reference, trained_places(base.unet, settings)
    if start is not None:
        pairs = {
            "places": (sorted(start.places), sorted(places)),
            "integration": (start.integration, wanted.integration),
            "features": (start.features, wanted.features),
        }
        for name, (stored, ours) in pairs.items():
            if stored != ours:
                raise SpecError(
                    f"model.adapter: its {name} is {stored}, but this training uses {ours}; set reference.{name} to "
                    f"the adapter's"
                )
        if start.reference_unet and wanted.unet == "frozen":
            raise SpecError(
                "model.adapter: its references are read by a U-Net of its own, but this training uses the frozen "
                "base's; set reference.unet: trained"
            )
        return load_adapter(start, base.unet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return DreamCacheAdapter(
            place_shapes(base.unet, places, wanted.features),
            integration=wanted.integration,
            features=wanted.features,
        )


def new_reader(
    base: DiffusionPipeline,
    adapter: DreamCacheAdapter,
    settings: TrainSettings,
    start: AdapterInfo | None,
) -> UNet2DConditionModel | None:
    """A copy of the base's U-Net that learns to read references, in float32; None where the base reads them."""
    if settings.reference.unet == "frozen":
        return None
    names = read_names(base.unet, adapter.feature_places)
    if start is not None and start.reference_unet:
        reader = load_reference_unet(start, base.unet, dtype=torch.float32)
    else:
        reader = own_copy(base.unet, names, torch.float32)
    for name, parameter in reader.named_parameters():
        parameter.requires_grad_(name in set(names))
    return reader
