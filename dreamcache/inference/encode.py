"""The verb encode: a reference photo becomes features, once per subject (docs/method.md section 1).

    photo -> segment -> packshot on white -> VAE latent -> noise at t -> one U-Net pass -> features

Knows models and images; knows nothing of Ray, jobs or where features are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ImageError
from dreamcache.core.records import cache_key
from dreamcache.inference.placement import on_device
from dreamcache.model.features import SubjectFeatures, stored_maps
from dreamcache.model.places import feature_shapes
from dreamcache.model.preprocess import check_visible, on_packshot, packshot, to_tensor
from dreamcache.model.tap import tap_features
from dreamcache.model.text import PromptEncoder
from dreamcache.segment import SegmenterSet
from dreamcache.segment.interface import Segment
from dreamcache.storage.feature_check import Expected
from dreamcache.storage.models.base import BaseInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """Features, and the packshot they were taken from. `features.segment_note` states why it is the whole photo."""

    features: SubjectFeatures
    packshot: Image.Image


class Encoder:
    """Encodes references with one frozen base model and one group of resolved settings."""

    def __init__(
        self,
        base: DiffusionPipeline,
        info: BaseInfo,
        settings: EncodeSettings,
        *,
        prompts: PromptEncoder,
        segmenters: SegmenterSet | None = None,
        reader: UNet2DConditionModel | None = None,
    ) -> None:
        """base: a diffusers pipeline. reader: the U-Net that reads references, if not the base's (`settings.reader`)"""
        self.base = base
        self.info = info
        self.settings = settings
        self.prompts = prompts
        self.reader = reader if reader is not None else base.unet
        self.segmenters = segmenters or SegmenterSet(
            settings.segmenter_models, device=str(base._execution_device)
        )
        # Only the noise schedule is read from it: q(x_t | x_0) is the same for every sampler.
        side = settings.size // int(base.vae_scale_factor)
        self._shapes = feature_shapes(self.reader, settings.places, (side, side))
        self.noise_schedule = DDPMScheduler.from_config(base.scheduler.config)

    def encode(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        reference_id: str | None = None,
        where: str = "reference",
    ) -> Encoded:
        """Encodes one upright RGB(A) photo.

        Raises ImageError `transparent_image` for a photo without a visible pixel, `no_mask` if the settings refuse a
        photo without a mask.
        """
        settings = self.settings
        check_visible(image, where=where)
        segment = segmented(image, mask, settings, self.segmenters, class_name=class_name, where=where)
        subject = None
        if settings.ground_vectors and segment.mask is not None:
            subject = on_packshot(segment.mask, size=settings.size, margin=settings.margin)
        picture = packshot(image, segment.mask, size=settings.size, margin=settings.margin)
        if reference_id is None:
            reference_id = ids.of_values("picture", pixels=ids.of_bytes(picture.tobytes()), size=picture.size)
        features = SubjectFeatures(
            cache_key=cache_key(reference_id, self.info.fingerprint, settings, class_name),
            reference_id=reference_id,
            base_fingerprint=self.info.fingerprint,
            maps=stored_maps(self._features(picture, settings.text_for(class_name)), settings, subject),
            settings=settings.as_dict(),
            segment_note=segment.reason,
        )
        return Encoded(features=features, packshot=picture)

    def expected(self, reference_id: str) -> Expected:
        """What features of that reference must be, wherever they were stored."""
        return Expected(reference_id=reference_id, settings=self.settings, shapes=self._shapes)

    @torch.no_grad()
    def _features(self, picture: Image.Image, text: str) -> dict[str, Tensor]:
        settings = self.settings
        latent = self._latent(to_tensor(picture))
        timestep = torch.tensor([settings.timestep], device=latent.device)
        noise = reference_noise(latent.shape, settings.noise_seed).to(latent.device)
        # In float32: at t = 1 alpha_bar is 0.998, which bfloat16 rounds to 1, so that no noise would be left.
        noised = self.noise_schedule.add_noise(latent.float(), noise, timestep).to(self.base.unet.dtype)
        prompt = self.prompts.read([text], pixels=(settings.size, settings.size), is_null=True)
        with on_device(self.reader, latent.device):
            maps = tap_features(self.reader, noised, timestep, prompt.states, settings.places, prompt.added)
        self.base.maybe_free_model_hooks()
        return {place: value[0] for place, value in maps.items()}

    def _latent(self, pixels: Tensor) -> Tensor:
        vae: Any = self.base.vae
        posterior = vae.encode(pixels.to(self.base._execution_device, vae.dtype)).latent_dist
        if self.settings.posterior == "mode":
            latent = posterior.mode()
        else:
            draw = torch.randn(posterior.mean.shape, generator=_generator(self.settings.noise_seed, 1))
            latent = posterior.mean + posterior.std * draw.to(posterior.mean)
        scaled: Tensor = latent * vae.config.scaling_factor
        return scaled


def segmented(
    image: Image.Image,
    mask: Image.Image | None,
    settings: EncodeSettings,
    segmenters: SegmenterSet,
    *,
    class_name: str,
    where: str,
) -> Segment:
    """The subject of a photo by the settings' segmenter. Raises ImageError `no_mask` where they ask for a subject."""
    segment = segmenters.segment(
        image, name=settings.segmenter, class_name=class_name, mask=mask, weights=settings.segmenter_id or ""
    )
    if segment.mask is None and settings.on_no_mask == "fail":
        raise ImageError(
            f"{where}: no subject found by segmenter '{settings.segmenter}' ({segment.explanation}); give a mask, "
            f"another segmenter, or reference.on_no_mask: whole_image",
            code="no_mask",
        )
    return segment


def reference_noise(shape: Sequence[int], seed: int) -> Tensor:
    """The noise on one reference's latent [1, c, h, w], on the CPU."""
    return torch.randn(tuple(shape), generator=_generator(seed, 0))


def _generator(seed: int, stream: int) -> torch.Generator:
    """CPU generators, so that every device gets the same noise; a stream for each purpose."""
    return torch.Generator("cpu").manual_seed(seed * 2 + stream)
