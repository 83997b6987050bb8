"""Sampling: one loop over any diffusers scheduler and any model(x, t) -> prediction.

Randomness is the item's own: starting noise and, for stochastic schedulers, every later draw come from that
item's generator, so an image does not depend on its batch mates.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.storage.models.settings_fit import WITHOUT_ZERO_SNR, check_steps, zero_snr_text

SCHEDULERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "heun": ("HeunDiscreteScheduler", {}),
}

STABLE_DIFFUSION: Mapping[str, Any] = {"steps_offset": 1, "set_alpha_to_one": False}
"""What Stable Diffusion means where a folder's scheduler, of whatever class, is silent."""

OnStep = Callable[[int, Tensor, Tensor], Tensor]
"""on_step(index, timestep, latents) -> latents"""


def make_scheduler(name: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """A fresh diffusers scheduler with the base model's noise schedule.

    Raises SpecError for an unknown name, and for a scheduler that cannot have the base's schedule.
    """
    if name not in SCHEDULERS:
        raise SpecError(
            f"scheduler '{name}': not known{did_you_mean(name, SCHEDULERS)}; known are {', '.join(SCHEDULERS)}"
        )
    if config.get("rescale_betas_zero_snr") and name in WITHOUT_ZERO_SNR:
        raise SpecError(zero_snr_text(name))
    class_name, options = SCHEDULERS[name]
    # diffusers marks values it had to repair (steps_offset of old folders) as defaults, and then drops them.
    known = {key: value for key, value in dict(config).items() if key != "_use_default_values"}
    return getattr(diffusers, class_name).from_config({**STABLE_DIFFUSION, **known}, **options)


def sample(
    model: Callable[[Tensor, Tensor], Tensor],
    scheduler: SchedulerMixin,
    noise: Tensor,
    *,
    num_inference_steps: int,
    generator: torch.Generator | list[torch.Generator] | None = None,
    on_step: OnStep | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
    progress: Callable[..., AbstractContextManager[Any]] = lambda total: nullcontext(),
    running: Callable[[int], AbstractContextManager[None]] = lambda predictions: nullcontext(),
) -> Tensor:
    """Denoises unit noise [B, 4, h, w] to latents. The scheduler is used up: give a fresh one a call.

    Raises SpecError for more steps than the schedule has room for.

    model: its timestep is on the device of the noise. on_step: its timestep is on the CPU. is_interrupted: asked after
    each step; True ends the loop. progress: progress(total=steps) is a tqdm bar. running: entered for the whole loop,
    with the number of predictions.
    """
    check_steps(num_inference_steps, scheduler.config)
    # Schedulers look timesteps up, which on a GPU waits for all work before it, so theirs are on the CPU.
    scheduler.set_timesteps(num_inference_steps, device="cpu")
    on_device = scheduler.timesteps.to(noise.device)
    accepted = inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if generator is not None and "generator" in accepted else {}
    latents: Tensor = noise * scheduler.init_noise_sigma
    with progress(total=len(on_device)) as bar, running(len(on_device)):
        for index, timestep in enumerate(scheduler.timesteps):
            prediction = model(scheduler.scale_model_input(latents, timestep), on_device[index])
            latents = scheduler.step(prediction, timestep, latents, **options, return_dict=False)[0]
            if on_step is not None:
                latents = on_step(index, timestep, latents)
            if bar is not None:
                bar.update()
            if is_interrupted():
                break
    return latents
