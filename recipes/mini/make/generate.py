"""Pictures from the newest checkpoint, through the product's own denoiser and sampler.

Knows the recipe's checkpoints and the product's model code; which pictures, grid and evaluate decide.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dreamcache.model.adapter import KeysValues
from dreamcache.model.denoiser import Conditions, GuidedDenoiser
from dreamcache.model.sampler import sample
from recipes.mini.make import checkpoints
from recipes.mini.make.clip import load_clip, tokenize
from recipes.mini.make.joint import read_memory
from recipes.mini.make.modules import new_scheduler
from recipes.mini.make.settings import LATENT, Settings
from recipes.mini.make.train import Models, load_average
from recipes.mini.make.vae import load_vae


class Generator:
    """The newest averaged weights, ready to generate."""

    def __init__(self, settings: Settings) -> None:
        self.device = checkpoints.prepare(settings)
        weights, self.step = load_average(settings)
        self.models = Models(settings.latent_channels)
        self.models.load_state_dict(weights)
        self.models.to(self.device).eval().requires_grad_(False)
        self.vae = load_vae(settings)
        self.clip, self.tokenizer = load_clip(settings)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        tokens = tokenize(self.tokenizer, list(prompts)).to(self.device)
        return self.clip.text_model(tokens).last_hidden_state

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> list[dict[str, KeysValues]]:
        """Adapter keys and values of packshots, uint8 [n, 64, 64, 3], one dictionary each."""
        batch = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = self.vae.encode(batch).latent_dist.mode()
        torch.manual_seed(0)
        stacked = read_memory(
            self.models.unet, self.models.adapter, new_scheduler(), latents, self.embed([""])
        )
        return [
            {place: KeysValues(keys=kv.keys[i : i + 1].float(), values=kv.values[i : i + 1].float())
             for place, kv in stacked.items()}
            for i in range(len(pictures))
        ]  # fmt: skip

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        subjects: Sequence[dict[str, KeysValues] | None],
        *,
        guidance: str = "combined",
        text_scale: float = 3.0,
        image_scale: float = 2.0,
        steps: int = 25,
        seed: int = 0,
    ) -> np.ndarray:
        """Pictures uint8 [n, 64, 64, 3], one per prompt; prompt i starts from the noise of seed + i."""
        count = len(prompts)
        noise = torch.stack([_noise(seed + i, self.vae.config.latent_channels) for i in range(count)]).to(
            self.device
        )
        conditions = Conditions(
            mode=guidance,
            text=self.embed(prompts),
            null_text=self.embed([""]).expand(count, -1, -1),
            subjects=list(subjects),
            text_scale=torch.full((count,), text_scale, device=self.device),
            image_scale=torch.full((count,), image_scale, device=self.device),
            strength=torch.ones(count, device=self.device),
        )
        denoiser = GuidedDenoiser(self.models.unet, self.models.adapter, conditions)
        latents = sample(
            denoiser, new_scheduler(), noise, num_inference_steps=steps, running=denoiser.running
        )
        pictures = self.vae.decode(latents).sample.clamp(-1, 1)
        return ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _noise(seed: int, channels: int) -> Tensor:
    return torch.randn((channels, LATENT, LATENT), generator=torch.Generator().manual_seed(seed))
