"""Qwen-Image 2.1 with cached photos: a batch of prompts, each with its own subject and noise.

    photos --Prefixes (once a subject)--> prefix -+
    prompts --QwenPrompts (once a text)--> tail --+-> steps of the transformer -> VAE -> images

Equal to `QwenImage21Pipeline` for the same photos, prompt and generator. Knows that pipeline's parts.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from diffusers import QwenImage21Pipeline
from diffusers.pipelines.qwenimage21.pipeline_qwenimage21 import calculate_shift
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dreamcache.inference.families.loading import load_pipeline
from dreamcache.inference.families.qwen_image.describe import (
    DOWN,
    FAMILY,
    LATENTS,
    STEPS,
    WEIGHTED,
    sample_sigmas,
)
from dreamcache.inference.families.qwen_image.encode import QwenEncoder
from dreamcache.inference.families.qwen_image.prefix import Prefix, Prefixes
from dreamcache.inference.families.qwen_image.prompts import MOST_TOKENS, QwenPrompts, Tail
from dreamcache.inference.families.qwen_image.reader import open_reader
from dreamcache.inference.families.qwen_image.transformer import (
    Before,
    KeysValues,
    RowAttention,
    target_rope,
    velocity,
)
from dreamcache.inference.families.reference_pipeline import Images, PhotoEncoder, ReferencePipeline
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.features import Features, photos_of
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo

SHIFT = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
"""What the pipeline takes where the scheduler's config has no value."""


class QwenImagePipeline(ReferencePipeline):
    """A Qwen-Image base on its device. prefixes: what of its last subjects is kept there."""

    kind: ClassVar[type[PhotoEncoder]] = QwenEncoder

    def __init__(self, info: BaseInfo, adapter_info: AdapterInfo, *, dtype: torch.dtype, device: str) -> None:
        """Loads the weights. Raises ModelError."""
        base = load_pipeline(
            QwenImage21Pipeline,
            info,
            weighted=WEIGHTED,
            quantized=FAMILY.quantized,
            dtype=dtype,
            device=device,
            further=lambda folder: {"processor": open_reader(folder)},
        )
        super().__init__(info, adapter_info, base)
        base.transformer.set_attn_processor(RowAttention())
        self.sigmas = sample_sigmas(info)
        self.prompts = QwenPrompts(base)
        self.prefixes = Prefixes(base)

    def stacks_by(self, subject: Features) -> tuple[tuple[int, ...], ...]:
        """Grids of its photos, so that prefixes of a batch have one length."""
        return tuple(tuple(photo.maps[LATENTS].shape[1:]) for photo in photos_of(subject))

    def finished(self, pixels: Tensor, output_type: str) -> Images:
        """Of [B, 3 or 4, H, W] in -1..1: the VAE decodes transparency too, and images are stored without."""
        processor = self.base.image_processor
        shown = processor.postprocess(pixels, output_type="pt")
        if shown.shape[1] > 3:
            shown = shown[:, :3] * shown[:, 3:] + 1 - shown[:, 3:]
        images: Images = shown
        if output_type != "pt":
            array = processor.pt_to_numpy(shown)
            images = array if output_type == "np" else processor.numpy_to_pil(array)
        return images

    def _grid(self, settings: SamplingSettings) -> tuple[int, int]:
        """(h, w) of the latents."""
        height = settings.get("height") or self.info.native_size
        width = settings.get("width") or self.info.native_size
        return 2 * (height // (2 * DOWN)), 2 * (width // (2 * DOWN))

    def noise(self, settings: SamplingSettings, generator: torch.Generator) -> Tensor:
        """[1, tokens, C], sampled in the pipeline's own layout; in float32 on the CPU for every device."""
        grid = self._grid(settings)
        channels = self.base.transformer.config.in_channels
        noise = randn_tensor(
            (1, 1, channels, *grid), generator=generator, device=torch.device("cpu"), dtype=torch.float32
        )
        packed: Tensor = self.base._pack_latents(noise, 1, channels, *grid)
        return packed

    def generate(
        self, prompts: list[str], subjects: list[Features], noise: Tensor, settings: SamplingSettings
    ) -> Tensor:
        """Pixels [B, 3 or 4, H, W] in -1..1."""
        grid = self._grid(settings)
        steps = settings.get("num_inference_steps") or len(self.sigmas) or STEPS
        base, model = self.base, self.base.transformer
        prefixes = [self.prefixes.of(subject) for subject in subjects]
        tails = [
            self.prompts.of(prefix, subject.cache_key, prompt)
            for prefix, subject, prompt in zip(prefixes, subjects, prompts, strict=True)
        ]
        layers = _layers(prefixes, tails)
        x = noise.to(base._execution_device, model.dtype)
        is_read = _is_read(prefixes, tails, x)
        starts = [prefix.next_token + one.length for prefix, one in zip(prefixes, tails, strict=True)]
        ropes = {start: target_rope(model, start, *grid) for start in set(starts)}
        rope = torch.cat([ropes[start] for start in starts])
        scheduler = copy.deepcopy(base.scheduler)
        config = scheduler.config
        mu = calculate_shift(x.shape[1], *(config.get(name, usual) for name, usual in SHIFT.items()))
        sigmas = self.sigmas if len(self.sigmas) == steps else np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(sigmas=list(sigmas), mu=mu, device=x.device)
        scheduler.set_begin_index(0)
        for timestep in scheduler.timesteps:
            times = timestep.expand(len(x)).to(x.dtype) / 1000
            predicted = velocity(model, x, times, rope, layers, is_read)
            x = scheduler.step(predicted, timestep, x, return_dict=False)[0].to(x.dtype)
        return self._decode(x, grid)

    def _decode(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        base, vae = self.base, self.base.vae
        height, width = (DOWN * side for side in grid)
        latents = base._unpack_latents(x, height, width, DOWN).to(vae.dtype)
        mean, deviation = (
            torch.tensor(values).view(1, vae.config.z_dim, 1, 1, 1).to(latents)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        pixels: Tensor = vae.decode(latents * deviation + mean, return_dict=False)[0][:, :, 0]
        return pixels


def _layers(prefixes: Sequence[Prefix], tails: Sequence[Tail]) -> list[Before]:
    """By block: the rows' prefixes, then their tails."""
    pairs = zip(
        zip(*(prefix.layers for prefix in prefixes), strict=True),
        zip(*(one.layers for one in tails), strict=True),
        strict=True,
    )
    return [Before(parts=(_stacked(before), _stacked(behind))) for before, behind in pairs]


def _stacked(rows: Sequence[KeysValues]) -> KeysValues:
    if all(row is rows[0] for row in rows):
        keys, values = (part.expand(len(rows), -1, -1, -1) for part in rows[0])
        return keys, values
    return torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows])


def _is_read(prefixes: Sequence[Prefix], tails: Sequence[Tail], x: Tensor) -> Tensor:
    """[B, 1, 1, keys]: all but the padding behind a row's text."""
    prefix = prefixes[0].layers[0][0].shape[1]
    mask = torch.ones(len(x), prefix + MOST_TOKENS + x.shape[1], dtype=torch.bool, device=x.device)
    for row, one in enumerate(tails):
        mask[row, prefix + one.length : prefix + MOST_TOKENS] = False
    return mask[:, None, None]
