"""One training step of base and adapters together, and the error that shows what the adapters learned.

The reference passes through the current base without gradient, as the product encodes it (t = 1, empty prompt, no
adapter); then the noised pictures are denoised with the adapters injected. Dropped conditions let the base alone
learn text to image. Knows the product's model code. Must not know checkpoints or clocks.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.tap import tap_features
from dreamcache.model.unet import decoder_half, encoder_half
from recipes.mini.make.compute import autocast
from recipes.mini.make.latents import LatentStore

REFERENCE_TIMESTEP = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How conditions are dropped and errors weighed."""

    drop_image: float = 0.10
    drop_text: float = 0.10
    drop_both: float = 0.05
    object_weight: float = 3.0  # of the object and its rim; the background weighs 1
    snr_cap: float = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """d designs, k pictures of each; the pictures' rows are ordered by design."""

    reference: Tensor  # [d, c, 16, 16]
    picture: Tensor  # [d * k, c, 16, 16]
    mask: Tensor  # [d * k, 1, 16, 16]
    text: Tensor  # [d * k, 77, width]
    empty: Tensor  # [1, 77, width]


def batch_of(latents: LatentStore, text: Tensor, rows: Tensor) -> Batch:
    """The batch of the chosen designs with all their pictures, on the device of `text`."""
    device = text.device

    def gather(name: str) -> Tensor:
        return latents.gather(name, rows).to(device)

    return Batch(
        reference=gather("reference").float(),
        picture=gather("picture").flatten(0, 1).float(),
        mask=gather("mask").flatten(0, 1).float(),
        text=text[gather("caption").flatten() + 1].float(),
        empty=text[:1].float(),
    )


def read_memory(
    unet: UNet2DConditionModel,
    adapter: DreamCacheAdapter,
    scheduler: DDIMScheduler,
    reference: Tensor,
    empty: Tensor,
) -> dict[str, KeysValues]:
    """Keys and values of the references [d, c, 16, 16], by place; gradients reach the adapters only."""
    device = reference.device
    step = torch.full((len(reference),), REFERENCE_TIMESTEP, device=device)
    noisy = scheduler.add_noise(reference, torch.randn_like(reference), step)
    # Its own autocast: weights cast without gradient must not stay in the cache of the training pass.
    with torch.no_grad(), autocast(device):
        null = empty.expand(len(reference), -1, -1)
        features = tap_features(unet, noisy, step, null, adapter.places)
    with autocast(device):
        return adapter.project(features)


def joint_loss(
    unet: UNet2DConditionModel,
    adapter: DreamCacheAdapter,
    scheduler: DDIMScheduler,
    batch: Batch,
    rules: Rules,
) -> Tensor:
    """The weighted error of v on one batch."""
    device, count = batch.picture.device, len(batch.picture)
    steps, noise = sample_timesteps(count, device), torch.randn_like(batch.picture)
    choice = torch.rand(count, device=device)
    no_image = choice < rules.drop_image + rules.drop_both
    no_text = (choice >= rules.drop_image) & (choice < rules.drop_image + rules.drop_both + rules.drop_text)
    text = torch.where(no_text[:, None, None], batch.empty, batch.text)
    rows = (~no_image).nonzero().squeeze(1)
    memory = None
    if len(rows):
        keys_values = read_memory(unet, adapter, scheduler, batch.reference, batch.empty)
        subject = rows // (count // len(batch.reference))
        memory = Memory(keys_values=pick(keys_values, subject), rows=rows)
    noisy = scheduler.add_noise(batch.picture, noise, steps)
    with autocast(device), injecting(unet, adapter, memory), _kernel(device):
        prediction = decoder_half(unet, encoder_half(unet, noisy, steps, text), text)
    target = scheduler.get_velocity(batch.picture, noise, steps)
    weight = 1 + (rules.object_weight - 1) * functional.max_pool2d(batch.mask, 3, stride=1, padding=1)
    error = ((prediction.float() - target).square() * weight).mean(dim=(1, 2, 3)) / weight.mean()
    return (error * level_weight(scheduler, steps, rules.snr_cap)).mean()


def _kernel(device: torch.device) -> AbstractContextManager[None]:
    """Plain attention trains faster than the fused kernel on a CPU, at these sizes."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def pick(keys_values: dict[str, KeysValues], index: Tensor) -> dict[str, KeysValues]:
    """The chosen subjects' keys and values; a subject may be taken several times."""
    return {
        place: KeysValues(keys=kv.keys.index_select(0, index), values=kv.values.index_select(0, index))
        for place, kv in keys_values.items()
    }


def sample_timesteps(count: int, device: torch.device) -> Tensor:
    """Stratified over the batch, with a bias to the middle and high noise levels."""
    share = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    share = share[torch.randperm(count, device=device)]
    return (1000 * share.pow(0.8)).long().clamp(0, 999)


def level_weight(scheduler: DDIMScheduler, steps: Tensor, cap: float) -> Tensor:
    """1 where the noise is strong; falls off where a clean picture would count more than `cap` times in x0."""
    alphas = scheduler.alphas_cumprod.to(steps.device)[steps]
    snr = alphas / (1 - alphas)
    return (cap / (snr + 1)).clamp(max=1.0)


@torch.no_grad()
def reference_errors(
    unet: UNet2DConditionModel,
    adapter: DreamCacheAdapter,
    scheduler: DDIMScheduler,
    batch: Batch,
    level: int,
    shift: int,
) -> dict[str, float]:
    """Error of v on the object at one noise level: right, wrong (same class) and no reference, same noise."""
    generator = torch.Generator().manual_seed(level)
    noise = torch.randn(batch.picture.shape, generator=generator).to(batch.picture.device)
    steps = torch.full((len(noise),), level, device=noise.device)
    noisy, target = (
        scheduler.add_noise(batch.picture, noise, steps),
        scheduler.get_velocity(batch.picture, noise, steps),
    )
    each = len(batch.picture) // len(batch.reference)
    subject = torch.arange(len(noise), device=noise.device) // each
    keys_values = read_memory(unet, adapter, scheduler, batch.reference, batch.empty)
    wrong = (subject + shift) % len(batch.reference)
    errors = {}
    for name, index in (("right", subject), ("wrong", wrong), ("none", None)):
        memory = None if index is None else Memory(keys_values=pick(keys_values, index))
        with autocast(noise.device), injecting(unet, adapter, memory):
            prediction = decoder_half(unet, encoder_half(unet, noisy, steps, batch.text), batch.text)
        gap = (prediction.float() - target).square() * batch.mask
        errors[name] = float(gap.sum() / (batch.mask.sum() * gap.shape[1]))
    return errors
