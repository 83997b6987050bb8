"""The loop that other methods share: an item's own noise -> sampler under text guidance -> VAE -> images.

The pipelines of diffusers for them repeat one photo over a batch, or sample noise from one generator; here each row has
its own.
Knows the parts of a Stable Diffusion pipeline; a method brings its call of the U-Net.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from diffusers import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dreamcache.inference.decode import decoded
from dreamcache.inference.pipeline import PipelineOutput
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.guidance import guide
from dreamcache.model.sampler import make_scheduler, sample


def generate_batch(
    base: DiffusionPipeline,
    predict: Callable[[Tensor, Tensor], Tensor],
    generator: Sequence[torch.Generator],
    *,
    native_size: int,
    settings: SamplingSettings,
) -> PipelineOutput:
    """One image per generator, of height x width pixels (None: native_size).

    base: a diffusers pipeline with unet, vae, scheduler and image_processor. predict: (latents [2n, 4, h, w],
    timestep) to the U-Net's prediction [2n, 4, h, w]; its first n rows are without a condition, the others with it.
    settings: guidance, image_scale and strength have no meaning here.
    """
    text_scale = settings.get("text_scale", 7.5)
    scheduler = settings.get("scheduler")
    sides = (settings.get("height"), settings.get("width"))
    side = 2 ** (len(base.vae.config.block_out_channels) - 1)
    shape = (len(generator), 4, *((pixels or native_size) // side for pixels in sides))
    # In float32 on the CPU: the same for every method and dtype.
    noise = randn_tensor(shape, generator=list(generator), device=torch.device("cpu"), dtype=torch.float32)

    def model(x: Tensor, timestep: Tensor) -> Tensor:
        return guide("text", list(predict(torch.cat([x, x]), timestep).chunk(2)), 0.0, text_scale)

    latents = sample(
        model,
        make_scheduler(scheduler, base.scheduler.config) if scheduler else copy.deepcopy(base.scheduler),
        noise.to(base.unet.device, base.unet.dtype),
        num_inference_steps=settings.get("num_inference_steps", 50),
        generator=list(generator),
    )
    pixels = decoded(base.vae, latents / base.vae.config.scaling_factor)
    output_type = settings.get("output_type", "pil")
    return PipelineOutput(images=base.image_processor.postprocess(pixels.float(), output_type=output_type))
