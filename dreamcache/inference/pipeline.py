"""`DreamCachePipeline`: the method behind a face in the style of diffusers. Works in a plain Python process.

    pipe = DreamCachePipeline.from_pretrained("mini")
    subject = pipe.encode_reference(image)
    pipe(prompt=["a photo of a mug on a beach"], subject=subject).images

Knows the model modules; knows nothing of Ray, jobs or catalogs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ModelError
from dreamcache.core.images import normalize
from dreamcache.inference.encode import Encoder
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import load_adapter
from dreamcache.model.base import load_base
from dreamcache.model.denoiser import Conditions, GuidedDenoiser
from dreamcache.model.features import SubjectFeatures
from dreamcache.model.guidance import BRANCHES
from dreamcache.model.projections import ProjectionCache
from dreamcache.model.reference_unet import load_reference_unet
from dreamcache.model.sampler import OnStep, make_scheduler, sample
from dreamcache.model.text import PromptEncoder
from dreamcache.storage.models.adapter import AdapterInfo, describe_adapter
from dreamcache.storage.models.base import BaseInfo, describe_base

OnStepEnd = Callable[["DreamCachePipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
OneOrMany = float | Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineOutput:
    """images: a list of PIL images, an array [B, H, W, 3] in 0..1 ("np"), or latents [B, 4, h, w] ("latent")."""

    images: Any


class DreamCachePipeline:
    """A frozen Stable Diffusion base and an adapter. `base` is the diffusers pipeline, usable as it is."""

    def __init__(
        self,
        base: StableDiffusionPipeline,
        info: BaseInfo,
        adapter: DreamCacheAdapter | None,
        adapter_info: AdapterInfo | None = None,
        reader: UNet2DConditionModel | None = None,
    ) -> None:
        """reader: the U-Net that reads references, if not the base's (see `model.reference_unet`)."""
        self.base = base
        self.info = info
        self.adapter_info = adapter_info
        self.reader = reader if reader is not None else base.unet
        self.adapter = adapter.to(base.unet.device, base.unet.dtype).eval() if adapter is not None else None
        self.prompts = PromptEncoder(base.tokenizer, base.text_encoder)
        self.projections = ProjectionCache(self.adapter) if self.adapter is not None else None
        self._encoders: dict[str, Encoder] = {}

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        adapter: str | None = None,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> DreamCachePipeline:
        """Loads `mini`, a diffusers folder or a hub id with a revision, and its adapter (path or s3:// URI).

        Raises ModelError when the model cannot be loaded or the adapter was trained on another base.
        """
        info = describe_base(name, revision)
        adapter_info = describe_adapter(adapter, info)
        base = load_base(info, dtype=dtype, device=device)
        made = load_adapter(adapter_info, base.unet)
        return cls(base, info, made, adapter_info, load_reference_unet(adapter_info, base.unet))

    @property
    def places(self) -> tuple[str, ...]:
        """Whose features a subject must have: the adapter's own places, or the middle block's alone."""
        return self.adapter.feature_places if self.adapter is not None else ()

    @property
    def reader_name(self) -> str:
        """`EncodeSettings.reader` of features that this pipeline makes and takes."""
        if self.reader is self.base.unet:
            return ""
        return self.adapter_info.reference_unet if self.adapter_info is not None else "unsaved"

    def encoder(self, settings: EncodeSettings) -> Encoder:
        """The encoder for these settings on this base; kept, since a segmenter may hold weights."""
        dtype: Any = str(self.base.unet.dtype).removeprefix("torch.")
        settings = settings.resolved(self.info.native_size, self.places, dtype, self.reader_name)
        key = ids.canonical_json(settings.as_dict())
        if key not in self._encoders:
            self._encoders[key] = Encoder(
                self.base, self.info, settings, prompts=self.prompts, reader=self.reader
            )
        return self._encoders[key]

    def encode_reference(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> SubjectFeatures:
        """Features of one photo; its background is removed first (`settings.segmenter`)."""
        encoder = self.encoder(settings or EncodeSettings())
        return encoder.encode(normalize(image), mask, class_name=class_name).features

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        subject: SubjectFeatures | Sequence[SubjectFeatures | None] | None = None,
        *,
        negative_prompt: str | Sequence[str] = "",
        guidance: str = "combined",
        text_scale: OneOrMany = 7.5,
        image_scale: OneOrMany = 0.4,
        strength: OneOrMany = 1.0,
        num_inference_steps: int = 50,
        scheduler: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        output_type: str = "pil",
    ) -> PipelineOutput:
        """Draws one image per prompt and sample; every list has one entry per image or per prompt.

        subject: one for all, or one per prompt, None for plain generation. guidance: "combined" or "joint"
        (docs/method.md section 3); text_scale is the one scale of joint guidance. strength: 1 the paper's injection,
        0 the base model's block. scheduler: a name of `sampler.SCHEDULERS`, None for the base model's own.
        latents: unit noise [B, 4, h, w] instead of `generator`. output_type: "pil", "np" or "latent".
        Raises ModelError or PromptError before any pass is made.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if guidance not in BRANCHES:
            raise ModelError(f"guidance '{guidance}': must be one of combined, joint")
        if output_type not in ("pil", "np", "latent"):
            raise ModelError(f"output_type '{output_type}': must be one of pil, np, latent")
        batch = len(prompts) * num_images_per_prompt

        def spread(value: Any, name: str) -> list[Any]:
            return _spread(value, name, len(prompts), num_images_per_prompt)

        subjects = spread(subject, "subject")
        self._check_subjects(subjects)
        numbers = {
            name: torch.tensor(spread(value, name), device=self.base.unet.device, dtype=self.base.unet.dtype)
            for name, value in (
                ("text_scale", text_scale),
                ("image_scale", image_scale),
                ("strength", strength),
            )
        }
        conditions = Conditions(
            mode=guidance,
            text=self.prompts(spread(prompts, "prompt")),
            null_text=self.prompts(spread(negative_prompt, "negative_prompt")),
            subjects=[
                self.projections.get(s) if s is not None and self.projections else None for s in subjects
            ],
            **numbers,
        )
        generators = spread(generator, "generator") if isinstance(generator, Sequence) else generator
        noise = latents if latents is not None else self._noise(batch, height, width, generators)
        latents = sample(
            GuidedDenoiser(self.base.unet, self.adapter, conditions),
            self._scheduler(scheduler),
            noise.to(self.base.unet.device, self.base.unet.dtype),
            num_inference_steps=num_inference_steps,
            generator=generators,
            on_step=self._on_step(callback_on_step_end),
        )
        return PipelineOutput(
            images=latents if output_type == "latent" else self._decode(latents, output_type)
        )

    def _check_subjects(self, subjects: Sequence[SubjectFeatures | None]) -> None:
        for subject in subjects:
            if subject is None:
                continue
            if self.adapter is None:
                raise ModelError(
                    "subject: this pipeline has no adapter; load one with from_pretrained(adapter=...)"
                )
            if subject.base_fingerprint != self.info.fingerprint:
                raise ModelError(
                    f"subject: its features come from base {subject.base_fingerprint[:12]}, the loaded base is "
                    f"'{self.info.name}' ({self.info.fingerprint[:12]}); encode the reference again"
                )
            reader = str(subject.settings.get("reader", ""))
            if reader != self.reader_name:
                named = [
                    f"U-Net {name[:12]}" if name else "the base's U-Net"
                    for name in (reader, self.reader_name)
                ]
                raise ModelError(
                    f"subject: its features were read by {named[0]}, this adapter's are by {named[1]}; encode the "
                    f"reference again with this adapter"
                )
            missing = [place for place in self.places if place not in subject.maps]
            if missing:
                raise ModelError(
                    f"subject: its features lack the adapter's places {', '.join(missing)}; encode it again"
                )

    def _scheduler(self, name: str | None) -> Any:
        config = self.base.scheduler.config
        return make_scheduler(name, config) if name else copy.deepcopy(self.base.scheduler)

    def _noise(self, batch: int, height: int | None, width: int | None, generator: Any) -> Tensor:
        # Drawn in float32 and sample by sample where a list of generators is given, then cast and moved.
        scale = self.base.vae_scale_factor
        for name, side in (("height", height), ("width", width)):
            if side and side % scale:
                raise ModelError(f"{name}: must be a multiple of {scale} pixels, got {side}")
        sides = [(side or self.info.native_size) // scale for side in (height, width)]
        shape = (batch, self.base.unet.config.in_channels, *sides)
        return randn_tensor(shape, generator=generator, device=torch.device("cpu"), dtype=torch.float32)

    def _on_step(self, callback: OnStepEnd | None) -> OnStep | None:
        if callback is None:
            return None

        def on_step(index: int, timestep: Tensor, latents: Tensor) -> Tensor:
            changed = callback(self, index, timestep, {"latents": latents}) or {}
            return changed.get("latents", latents)

        return on_step

    def _decode(self, latents: Tensor, output_type: str) -> Any:
        vae: Any = self.base.vae
        pixels = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return self.base.image_processor.postprocess(pixels, output_type=output_type)


def _spread(value: Any, name: str, num_prompts: int, per_prompt: int) -> list[Any]:
    """One entry per image: a single value for all, one per prompt, or one per image already."""
    if isinstance(value, (str, int, float)) or not isinstance(value, Sequence):
        return [value] * (num_prompts * per_prompt)
    values = list(value)
    if len(values) == num_prompts * per_prompt:
        return values
    if len(values) == num_prompts:
        return [one for one in values for _ in range(per_prompt)]
    raise ModelError(
        f"{name}: must be one value, or one per prompt ({num_prompts}) or per image "
        f"({num_prompts * per_prompt}); got {len(values)}"
    )
