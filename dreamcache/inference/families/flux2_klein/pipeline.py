"""FLUX.2 klein with cached keys and values: a batch of prompts, each with its own subject and noise.

    latents of references -> keys and values (once a subject) -+
    prompts -> embeddings (once a text) -----------------------+-> steps of the transformer -> VAE -> images

Equal to `Flux2KleinKVPipeline` for the same photo, prompt and generator. Knows that pipeline's parts.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import torch
from diffusers import Flux2KleinKVPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein_kv import compute_empirical_mu
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dreamcache.core.config import Offload
from dreamcache.inference.families.flux2_klein.describe import FAMILY, STEPS, WEIGHTED
from dreamcache.inference.families.flux2_klein.encode import KleinEncoder
from dreamcache.inference.families.flux2_klein.keys_values import ReferenceKV, num_tokens
from dreamcache.inference.families.flux2_klein.prompts import KleinPrompts
from dreamcache.inference.families.loading import load_pipeline
from dreamcache.inference.families.reference_pipeline import PhotoEncoder, ReferencePipeline
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.features import Features
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


class KleinPipeline(ReferencePipeline):
    """A klein base on its device. keys_values: what of its last subjects is kept there."""

    kind: ClassVar[type[PhotoEncoder]] = KleinEncoder

    def __init__(
        self,
        info: BaseInfo,
        adapter_info: AdapterInfo,
        *,
        dtype: torch.dtype,
        device: str,
        offload: Offload = "none",
    ) -> None:
        """Loads the weights. Raises ModelError."""
        base = load_pipeline(
            Flux2KleinKVPipeline,
            info,
            weighted=WEIGHTED,
            quantized=FAMILY.quantized,
            dtype=dtype,
            device=device,
            offload=offload,
        )
        super().__init__(info, adapter_info, base)
        self.prompts = KleinPrompts(base)
        self.keys_values = ReferenceKV(base)

    def stacks_by(self, subject: Features) -> int:
        """Tokens of its photos."""
        return num_tokens(subject)

    def noise(self, settings: SamplingSettings, generator: torch.Generator) -> Tensor:
        """[1, C, h, w] in the pipeline's own layout, before packing; in float32 on the CPU for every device."""
        multiple = 2 * self.base.vae_scale_factor
        sides = (settings.get("height"), settings.get("width"))
        height, width = ((side or self.info.native_size) // multiple for side in sides)
        shape = (1, self.base.transformer.config.in_channels, height, width)
        noise: Tensor = randn_tensor(
            shape, generator=generator, device=torch.device("cpu"), dtype=torch.float32
        )
        return noise

    def generate(
        self, prompts: list[str], subjects: list[Features], noise: Tensor, settings: SamplingSettings
    ) -> Tensor:
        """Pixels [B, 3, H, W] in -1..1."""
        base, model = self.base, self.base.transformer
        device = base._execution_device
        text = self.prompts(prompts).to(device)
        text_ids = base._prepare_text_ids(text).to(device)
        latents = noise.to(device, text.dtype)
        latent_ids = base._prepare_latent_ids(latents).to(device)
        x = base._pack_latents(latents)
        cache = self.keys_values.of(subjects)
        scheduler = copy.deepcopy(base.scheduler)
        steps = settings.get("num_inference_steps", STEPS)
        mu = compute_empirical_mu(x.shape[1], steps)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu, device=device)
        scheduler.set_begin_index(0)
        for timestep in scheduler.timesteps:
            velocity = model(
                hidden_states=x.to(model.dtype),
                timestep=timestep.expand(len(x)).to(x.dtype) / 1000,
                guidance=None,
                encoder_hidden_states=text,
                txt_ids=text_ids,
                img_ids=latent_ids,
                return_dict=False,
                kv_cache=cache,
                kv_cache_mode="cached",
            )[0]
            x = scheduler.step(velocity, timestep, x, return_dict=False)[0].to(x.dtype)
        return self._decode(base._unpack_latents_with_ids(x, latent_ids))

    def _decode(self, latents: Tensor) -> Tensor:
        base, vae = self.base, self.base.vae
        mean = vae.bn.running_mean.view(1, -1, 1, 1).to(latents)
        deviation = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).to(latents)
        pixels: Tensor = vae.decode(
            base._unpatchify_latents(latents * deviation + mean).to(vae.dtype), return_dict=False
        )[0]
        return pixels
