"""The loss: the base's own noise-prediction error, with the subject's features injected (docs/method.md section 4).

    reference --frozen base, t = 1, null text--> features --adapter--> keys and values --+
    target --VAE--> latent --noise at t--> U-Net with the adapters injected  <-----------+--> error per sample

Nothing here is random: noise and choices come with the batch (see `training.dataset`). Knows the model code; knows
nothing of optimizers, workers or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NotRequired, TypedDict

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

from dreamcache.core.config.train import CAPTION, TrainSettings
from dreamcache.inference.encode import reference_noise
from dreamcache.inference.layouts import STABLE_DIFFUSION, BaseLayout
from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.places import block_at, chosen_places, in_forward_order
from dreamcache.model.tap import tap_features
from dreamcache.model.text import TextInput
from dreamcache.model.unet import decoder_half, encoder_half
from dreamcache.training.references import StoredReferences


class Batch(TypedDict):
    """Collated items of `training.dataset`: tensors on any device, with a batch dimension B in front."""

    pixels: Tensor
    mask: Tensor
    reference: Tensor
    caption: list[str]
    noise: Tensor
    reference_noise: Tensor
    reference_id: NotRequired[list[str]]
    posterior_noise: NotRequired[Tensor]


class TrainBatch(Batch):
    """See `training.dataset.TrainItem`."""

    share: Tensor
    keep_text: Tensor
    keep_image: Tensor


class AdapterLoss(nn.Module):
    """What is trained: forward returns the error of each sample. What learns: the adapter, and the reader if any.

    The base stays outside of the module's children, so that DDP, optimizers and checkpoints do not see it.
    """

    def __init__(
        self,
        base: DiffusionPipeline,
        adapter: DreamCacheAdapter,
        settings: TrainSettings,
        stored: StoredReferences | None = None,
        reader: UNet2DConditionModel | None = None,
        layout: BaseLayout = STABLE_DIFFUSION,
    ) -> None:
        """stored: the cache of features of references that never change, if the training uses one.

        reader: the U-Net that reads references, in float32, where it is trained; None for the base's. layout: the
        base's.
        """
        super().__init__()
        self.adapter = adapter
        self.settings = settings
        self.stored = stored
        self.reader = reader
        self._frozen = (base,)
        self.scheduler = DDPMScheduler.from_config(base.scheduler.config)
        self._prompts = layout.prompts(base)
        if CAPTION not in settings.reference.text:
            self._prompts.check(settings.reference.text)
        self._fixed: dict[tuple[str, tuple[int, int]], TextInput] = {}

    @property
    def base(self) -> DiffusionPipeline:
        return self._frozen[0]

    def forward(self, batch: TrainBatch, hooks: ExitStack) -> Tensor:
        """Weighted error of each sample, [B] float32.

        hooks: closed by the caller after the backward pass. With gradient checkpointing the backward pass runs the
        blocks once more, and must find the adapters injected then, too.
        """
        sampled = batch.get("posterior_noise")
        latents = self._latents(batch["pixels"], None if sampled is None else sampled[:, 0])
        noise = batch["noise"].to(latents)
        timesteps = self._timesteps(batch["share"])
        pixels = _size(batch["pixels"])
        captions = self._prompts.read_cut(batch["caption"], pixels=pixels)
        text = captions.where(batch["keep_text"].to(latents.device), self._same("", pixels))
        rows = batch["keep_image"].nonzero().squeeze(1).to(latents.device)
        memory = None
        if len(rows):
            memory = Memory(keys_values=self.read(batch, rows), rows=rows)
        hooks.enter_context(injecting(self.base.unet, self.adapter, memory))
        prediction = self._predict(self.scheduler.add_noise(latents, noise, timesteps), timesteps, text)
        error = (prediction.float() - self._target(latents, noise, timesteps)).square()
        weight = 1 + self.settings.loss.foreground * batch["mask"].to(error)
        weighted = (error * weight).mean(dim=(1, 2, 3)) / weight.mean(dim=(1, 2, 3))
        losses = weighted * self._level_weight(timesteps)
        if memory is None:  # a worker without any gradient would leave the others waiting for it
            losses = losses + sum(p.sum() for p in self.parameters() if p.requires_grad) * 0.0
        return losses

    def read(self, batch: Batch, rows: Tensor) -> dict[str, KeysValues]:
        """Keys and values of the references of the chosen rows; gradients reach the adapter, and the reader if any."""
        texts = [
            self.settings.reference.text.replace(CAPTION, batch["caption"][row]) for row in rows.tolist()
        ]
        with torch.set_grad_enabled(self.reader is not None and torch.is_grad_enabled()):
            reference_ids = batch.get("reference_id")
            if self.stored is None or reference_ids is None:
                features = self._encode(batch, rows, texts)
            else:
                names = [reference_ids[row] for row in rows.tolist()]
                features = self.stored.read(
                    names,
                    texts,
                    lambda new: self._encode(batch, rows[list(new)], [texts[n] for n in new]),
                    rows.device,
                )
        with self._autocast():
            return self.adapter.project(features)

    def _encode(self, batch: Batch, rows: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
        """One pass over the references of the chosen rows, each with its own text."""
        settings = self.settings.reference
        sampled = batch.get("posterior_noise")
        latents = self._latents(
            batch["reference"].to(rows.device).index_select(0, rows),
            None if sampled is None else sampled.to(rows.device).index_select(0, rows)[:, 1],
        )
        if settings.noise == "fixed":
            noise = reference_noise((1, *latents.shape[1:]), 0).to(latents).expand_as(latents)
        else:
            noise = batch["reference_noise"].to(latents).index_select(0, rows)
        step = torch.full((len(rows),), settings.timestep, device=latents.device)
        noised = self.scheduler.add_noise(latents, noise, step)
        pixels = _size(batch["reference"])
        if CAPTION in settings.text:
            text = self._prompts.read_cut(texts, pixels=pixels)
        else:
            text = self._same(settings.text, pixels).expand(len(rows))
        places, unet = self.adapter.feature_places, self.base.unet
        if self.reader is None:
            return tap_features(unet, noised.to(unet.dtype), step, text.states, places, text.added)
        with self._autocast():
            return tap_features(self.reader, noised, step, text.states, places, text.added)

    @torch.no_grad()
    def level_errors(self, batch: Batch, level: int, others: Mapping[str, Batch | None]) -> dict[str, Tensor]:
        """Squared error on the subject at one noise level, [B], for each named reference batch (None: none).

        Noise, level and text are the same for all of them, so that their difference is the reference's.
        """
        latents = self._latents(batch["pixels"])
        noise, rows = batch["noise"].to(latents), torch.arange(len(latents), device=latents.device)
        timesteps = torch.full((len(latents),), level, device=latents.device)
        noised, target = (
            self.scheduler.add_noise(latents, noise, timesteps),
            self._target(latents, noise, timesteps),
        )
        text = self._prompts.read_cut(batch["caption"], pixels=_size(batch["pixels"]))
        mask = batch["mask"].to(latents)
        errors: dict[str, Tensor] = {}
        for name, other in others.items():
            memory = None if other is None else Memory(keys_values=self.read(other, rows))
            with injecting(self.base.unet, self.adapter, memory):
                prediction = self._predict(noised, timesteps, text)
            error = (prediction.float() - target).square().mean(dim=1, keepdim=True) * mask
            errors[name] = error.sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        return errors

    def _predict(self, noised: Tensor, timesteps: Tensor, text: TextInput) -> Tensor:
        unet = self.base.unet
        with self._autocast():
            state = encoder_half(unet, noised.to(unet.dtype), timesteps, text.states, text.added)
            return decoder_half(unet, state, text.states)

    def _target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.scheduler.config.prediction_type == "v_prediction":
            velocity: Tensor = self.scheduler.get_velocity(latents, noise, timesteps)
            return velocity
        return noise

    def _level_weight(self, timesteps: Tensor) -> Tensor:
        """min-SNR weighting (Hang et al. 2023, arXiv 2303.09556) in the form of the base's prediction."""
        gamma = self.settings.loss.min_snr_gamma
        if not gamma:
            return torch.ones(timesteps.shape, device=timesteps.device)
        # Not `diffusers.training_utils.compute_snr`: equal, but by square roots, so its last bits differ.
        signal: Tensor = self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        snr = signal / (1 - signal)
        divisor = snr + 1 if self.scheduler.config.prediction_type == "v_prediction" else snr.clamp(min=1e-8)
        return snr.clamp(max=gamma) / divisor

    def _timesteps(self, share: Tensor) -> Tensor:
        count: int = self.scheduler.config.num_train_timesteps
        return (share.to(self.base.unet.device).double() * count).long().clamp(0, count - 1)

    @torch.no_grad()
    def _latents(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """The VAE posterior's mode, or its sample by `noise`, scaled.

        In float32: noising in bfloat16 would lose the small noise levels.
        """
        vae: Any = self.base.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        latents: Tensor = posterior.mode()
        if noise is not None:
            latents = latents.float() + posterior.std.float() * noise.to(latents.device)
        scale: float = vae.config.scaling_factor
        return (latents * scale).float()

    def _same(self, text: str, pixels: tuple[int, int]) -> TextInput:
        """[1, ..] of a text that is the same for every sample; "" is the branch without text."""
        key = (text, pixels)
        if key not in self._fixed:
            self._fixed[key] = self._prompts.read([text], pixels=pixels, is_null=True)
        return self._fixed[key]

    def _autocast(self) -> AbstractContextManager[object]:
        wanted = self.settings.precision == "bfloat16"
        return torch.autocast(self.base.unet.device.type, torch.bfloat16, enabled=wanted)


def _size(pictures: Tensor) -> tuple[int, int]:
    """(height, width) in pixels."""
    height, width = pictures.shape[-2:]
    return height, width


def trained_places(unet: UNet2DConditionModel, settings: TrainSettings) -> tuple[str, ...]:
    """The places that `settings.reference` selects, in forward order. Raises ModelError for one that does not exist."""
    wanted = settings.reference
    for place in wanted.places:
        block_at(unet, place)
    if wanted.places:
        return in_forward_order(wanted.places)
    return chosen_places(unet, wanted.parts, wanted.every)
