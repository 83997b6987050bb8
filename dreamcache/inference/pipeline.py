"""`DreamCachePipeline`: the method as a pipeline in the style of diffusers. Works in a plain Python process.

    pipe = DreamCachePipeline.from_pretrained("mini")
    subject = pipe.encode_reference(photo)
    pipe("a photo of a mug on a beach", subject).images

Knows the model modules; knows nothing of Ray, jobs or catalogs. The rules of arguments are `inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.inference.decode import decoded
from dreamcache.inference.encode import Encoder
from dreamcache.inference.inputs import Arguments, Inputs, OneOrMany, check_inputs
from dreamcache.inference.parts import PipelineParts
from dreamcache.inference.pictures import Picture, as_mask, as_picture
from dreamcache.inference.placement import base_lock, on_device
from dreamcache.inference.protocols import SavingsArguments
from dreamcache.model.denoiser import Conditions, GuidedDenoiser
from dreamcache.model.features import Features, SubjectFeatures
from dreamcache.model.loras import refuse_unnamed
from dreamcache.model.sampler import OnStep, sample
from dreamcache.model.text import TextInput
from dreamcache.segment.u2net_file import with_segmenter_id

OnStepEnd = Callable[["DreamCachePipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


@dataclass
class PipelineOutput(BaseOutput):  # type: ignore[misc]
    """images: a list of PIL images, an array [B, H, W, 3] in 0..1 ("np"), a tensor [B, 3, H, W] in 0..1 ("pt"), or
    latents [B, 4, h, w] ("latent")."""

    images: Any


class DreamCachePipeline(PipelineParts):
    """A frozen Stable Diffusion or SDXL base and an adapter. `base` is the diffusers pipeline, usable as it is.

    Calls from several threads are correct and run one after the other, also of pipelines that share a base. `base`
    itself called by another thread meanwhile is not protected.

    >>> from dreamcache import DreamCachePipeline
    >>> pipe = DreamCachePipeline.from_pretrained("mini")
    >>> subject = pipe.encode_reference(photo)
    >>> pipe("a photo of a mug on the beach", subject, num_inference_steps=2).images[0].size
    (64, 64)
    """

    _interrupt = False
    """Set by a callback, as in diffusers: the call ends after this step."""

    def encoder(self, settings: EncodeSettings) -> Encoder:
        """The encoder for these settings on this base; kept, since a segmenter may hold weights."""
        refuse_unnamed(self.base)
        dtype: Any = str(self.dtype).removeprefix("torch.")
        settings = settings.resolved(self.info.native_size, self.places, dtype, self.reader_name)
        settings = with_segmenter_id(settings)
        key = ids.canonical_json(settings.as_dict())
        if key not in self._encoders:
            self._encoders[key] = Encoder(
                self.base, self.info, settings, prompts=self.prompts, reader=self.reader
            )
        return self._encoders[key]

    def encode_reference(
        self,
        image: Picture,
        mask: Picture | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> SubjectFeatures:
        """Features of one photo; its background is removed first (`settings.segmenter`).

        image: a path or s3:// URI, a PIL image, an array [H, W, 3] or a tensor [3, H, W], uint8 or floats from 0 to 1.
        mask: of the photo's size, in any of these forms without channels; white is the subject.
        Raises InputError for another form, ImageError for a photo that cannot be used.

        >>> pipe.encode_reference(photo, class_name="mug")
        SubjectFeatures(..., base dd62de085cc5, 7 places, ... kB of int8)
        >>> pixels = np.zeros((64, 48, 3), np.float32)
        >>> mask = np.ones((64, 48), bool)
        >>> sorted(pipe.encode_reference(pixels, mask).maps) == sorted(pipe.places)
        True
        """
        picture = as_picture(image)
        cut_out = as_mask(mask, picture.size)
        with base_lock(self.base.unet):
            encoder = self.encoder(settings or EncodeSettings())
            return encoder.encode(picture, cut_out, class_name=class_name).features

    @torch.no_grad()
    def __call__(
        self,
        prompt: OneOrMany[str] | None = None,
        subject: OneOrMany[Features | None] = None,
        *,
        negative_prompt: OneOrMany[str] | None = None,
        guidance: str = "combined",
        text_scale: OneOrMany[float] | None = None,
        image_scale: OneOrMany[float] | None = None,
        guidance_scale: OneOrMany[float] | None = None,
        image_guidance_scale: OneOrMany[float] | None = None,
        strength: OneOrMany[float] = 1.0,
        num_inference_steps: int = 50,
        scheduler: str | SchedulerMixin | None = None,
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        negative_pooled_prompt_embeds: Tensor | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        output_type: str = "pil",
        return_dict: bool = True,
        **savings: Unpack[SavingsArguments],
    ) -> PipelineOutput:
        """Generates one image per prompt and sample; every list has one entry per prompt or per image.

        subject: one for all, or one per prompt, None for plain generation; a `PhotoSet` for several photos of it.
        guidance: "combined" or "joint" (Supp S4); text_scale is the one scale of joint guidance. guidance_scale and
        image_guidance_scale are InstructPix2Pix's names of text_scale and image_scale, whose defaults are the adapter's
        recommendation, else 7.5 and 0.4. strength: 1 the paper's injection, 0 the base model's block. scheduler: a name
        of `sampler.SCHEDULERS`, or diffusers' own. savings: see `core.config.savings`. latents: unit noise [B, 4, h,
        w]. prompt_embeds: [prompts, tokens, width], for SDXL with pooled_prompt_embeds: [prompts, P]. output_type:
        "pil", "np", "pt" or "latent". callback_on_step_end: as in diffusers, of `latents`; `pipe._interrupt = True`
        ends the call after that step. Raises InputError or PromptError before any pass of a model.

        >>> out = pipe(
        ...     ["a mug on the beach", "a mug in the snow"], subject, num_inference_steps=2, output_type="pt")
        >>> out.images.shape
        torch.Size([2, 3, 64, 64])
        """
        arguments = Arguments(
            prompt=prompt,
            subject=subject,
            negative_prompt=negative_prompt,
            guidance=guidance,
            text_scale=text_scale,
            image_scale=image_scale,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
            strength=strength,
            num_inference_steps=num_inference_steps,
            scheduler=scheduler,
            savings=savings,
            height=height,
            width=width,
            num_images_per_prompt=num_images_per_prompt,
            generator=generator,
            latents=latents,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            pooled_prompt_embeds=pooled_prompt_embeds,
            negative_pooled_prompt_embeds=negative_pooled_prompt_embeds,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            output_type=output_type,
        )
        inputs = check_inputs(self, arguments)
        with base_lock(self.base.unet):
            images = self._generate(inputs, callback_on_step_end)
        output = PipelineOutput(images=images)
        return output if return_dict else output.to_tuple()

    def _generate(self, inputs: Inputs, callback: OnStepEnd | None) -> Any:
        self._interrupt = False
        conditions = self._conditions(inputs)
        with on_device(self.base.unet, self.device):
            denoiser = GuidedDenoiser(
                self.base.unet, self.adapter, conditions, savings=inputs.savings, halves=self.halves
            )
            latents = sample(
                denoiser,
                inputs.scheduler,
                self._noise(inputs).to(self.device, self.dtype),
                num_inference_steps=inputs.num_inference_steps,
                generator=inputs.generator,
                on_step=self._on_step(callback, inputs) if callback is not None else None,
                is_interrupted=lambda: self._interrupt,
                progress=self.base.progress_bar,
                running=denoiser.running,
            )
        if inputs.output_type != "latent":
            latents = self._images(latents, inputs.output_type)
        self.base.maybe_free_model_hooks()
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in 0..1, of the latents that a call returns with output_type "latent".

        Unlike a call it does not wait for other threads' calls, so it raises out of memory where a call continues with
        fewer rows a pass. See `decodes_apart`.

        >>> latents = pipe("a mug", subject, num_inference_steps=2, output_type="latent").images
        >>> pipe.decode(latents).shape
        torch.Size([1, 3, 64, 64])
        """
        images: Tensor = self._images(latents, "pt", is_alone=False)
        return images

    def _images(self, latents: Tensor, output_type: str, *, is_alone: bool = True) -> Any:
        vae = self.base.vae
        pixels = decoded(vae, latents.to(vae.dtype) / vae.config.scaling_factor, is_alone=is_alone)
        return self.base.image_processor.postprocess(pixels, output_type=output_type)

    def _conditions(self, inputs: Inputs) -> Conditions:
        height, width = (side * self.vae_scale for side in inputs.latent_size)

        pixels = (height, width)

        def placed(tensor: Tensor | None) -> Tensor | None:
            return tensor.to(self.device, self.dtype) if tensor is not None else None

        def embedded(
            prompts: list[str] | None, embeds: Tensor | None, pooled: Tensor | None, *, is_null: bool
        ) -> TextInput:
            states = placed(embeds)
            if states is not None:
                return self.prompts.given(states, placed(pooled), pixels=pixels)
            return self.prompts.read(prompts or [], pixels=pixels, is_null=is_null)

        def numbers(values: list[float]) -> Tensor:
            return torch.tensor(values, device=self.device, dtype=self.dtype)

        text = embedded(inputs.prompts, inputs.prompt_embeds, inputs.pooled_prompt_embeds, is_null=False)
        null = embedded(
            inputs.negative_prompts,
            inputs.negative_prompt_embeds,
            inputs.negative_pooled_prompt_embeds,
            is_null=True,
        )
        return Conditions(
            mode=inputs.guidance,
            text=text.states,
            null_text=null.states,
            added=text.added,
            null_added=null.added,
            subjects=[
                self.projections.get(subject) if subject is not None and self.projections else None
                for subject in inputs.subjects
            ],
            text_scale=numbers(inputs.text_scale),
            image_scale=numbers(inputs.image_scale),
            strength=numbers(inputs.strength),
        )

    def _noise(self, inputs: Inputs) -> Tensor:
        if inputs.latents is not None:
            return inputs.latents
        shape = (inputs.num_images, self.base.unet.config.in_channels, *inputs.latent_size)
        # In float32 on the CPU, and sample by sample where a list of generators is given: the same for every device.
        noise: Tensor = randn_tensor(
            shape, generator=inputs.generator, device=torch.device("cpu"), dtype=torch.float32
        )
        return noise

    def _on_step(self, callback: OnStepEnd, inputs: Inputs) -> OnStep:
        def on_step(index: int, timestep: Tensor, latents: Tensor) -> Tensor:
            tensors = {"latents": latents} if "latents" in inputs.callback_tensors else {}
            changed = callback(self, index, timestep, tensors) or {}
            return changed.get("latents", latents)

        return on_step
