"""DreamCache on SDXL, without torch: an adapter folder, features in the cache, as on Stable Diffusion."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from dreamcache.core.config import Offload
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.diffusers_folder import describe_folder
from dreamcache.inference.families.family import Photos
from dreamcache.inference.families.sd_sizes import StableDiffusionFamily
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.adapter import AdapterInfo, describe_adapter
from dreamcache.storage.models.base import (
    BaseInfo,
    component_config,
    native_side,
    pipeline_class,
    prediction_type,
)

PIPELINE = "StableDiffusionXLPipeline"
WEIGHTED = ("unet", "vae", "text_encoder", "text_encoder_2")
PARTS = (*WEIGHTED, "tokenizer", "tokenizer_2", "scheduler")
PREDICTIONS = ("epsilon", "v_prediction")


class StableDiffusionXL(StableDiffusionFamily):
    """adapter: a folder or s3:// URI; None takes the one in the base's own folder."""

    method: ClassVar[str] = "dreamcache"
    takes_loras: ClassVar[bool] = True
    offloads: ClassVar[frozenset[Offload]] = frozenset({"model", "sequential"})
    quantized: ClassVar[tuple[str, ...]] = ("unet",)
    caches_features: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    decodes_apart: ClassVar[bool] = True
    trains_adapters: ClassVar[bool] = True
    photos: ClassVar[Photos] = "set"
    weighted: ClassVar[tuple[str, ...]] = WEIGHTED
    upcasts_vae: ClassVar[bool] = True
    slices_vae: ClassVar[bool] = True
    per_image: ClassVar[frozenset[str]] = frozenset(
        {"negative_prompt", "text_scale", "image_scale", "strength"}
    )

    def recognizes(self, base: str, revision: str | None) -> bool:
        """By model_index.json; the refiner and inpainting bases have pipelines of their own."""
        return pipeline_class(base, revision) == PIPELINE

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, damaged, or a base that SDXL's pipeline runs in another way."""
        info, _ = describe_folder(
            base, revision, layout="SDXL", parts=PARTS, weighted=WEIGHTED, checked=WEIGHTED
        )
        unet, vae, scheduler = (component_config(info, part) for part in ("unet", "vae", "scheduler"))
        _check(base, unet, vae, scheduler)
        return replace(
            info, native_size=native_side(base, unet, vae), prediction_type=prediction_type(scheduler)
        )

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """See `storage.models.adapter.describe_adapter`."""
        return describe_adapter(adapter, base)


def _check(base: str, unet: JsonObject, vae: JsonObject, scheduler: JsonObject) -> None:
    """What would fail, or give other images than the base's own pipeline, at every item."""
    predicted = prediction_type(scheduler)
    shift = [name for name in ("latents_mean", "latents_std") if vae.get(name) is not None]
    rules = {
        f"unet/config.json: addition_embed_type must be text_time, got {unet.get('addition_embed_type')!r}": (
            unet.get("addition_embed_type") == "text_time"
        ),
        f"unet/config.json: in_channels must be 4, got {unet.get('in_channels', 4)!r}": (
            unet.get("in_channels", 4) == 4
        ),
        f"vae/config.json: {' and '.join(shift)} must not be set, since latents are scaled only": not shift,
        f"scheduler/scheduler_config.json: prediction_type must be {' or '.join(PREDICTIONS)}, got {predicted!r}": (
            predicted in PREDICTIONS
        ),
    }
    for text, holds in rules.items():
        if not holds:
            raise ModelError(f"model '{base}': {text}; choose another base of the SDXL layout")


FAMILY = StableDiffusionXL()
