"""What a call of the pipeline may say: every rule is checked before any pass of a model.

    arguments of __call__ --check_inputs--> Inputs: one entry per image, nothing left to default

Every refusal names the argument, the rule, what came instead and the remedy. Knows the pipeline's facts (sizes,
places, scheduler); runs no model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from dreamcache.core.config import DEFAULT_SCALES
from dreamcache.core.config.savings import Savings
from dreamcache.core.errors import did_you_mean
from dreamcache.inference.embeddings import spread_embeds, spread_pooled
from dreamcache.inference.rules import (
    Spread,
    callback_tensors,
    check_embeds,
    choice,
    generators,
    refuse,
    savings_of,
    whole,
)
from dreamcache.inference.subjects import check_subjects
from dreamcache.model.features import Features
from dreamcache.model.sampler import SCHEDULERS, make_scheduler

if TYPE_CHECKING:
    from dreamcache.inference.parts import PipelineParts

GUIDANCES = ("combined", "joint")
OUTPUT_TYPES = ("pil", "np", "pt", "latent")
MOST_STEPS = 999

T = TypeVar("T")
OneOrMany: TypeAlias = T | Sequence[T]
Generators = torch.Generator | Sequence[torch.Generator] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """The arguments of `DreamCachePipeline.__call__` as they came; see there."""

    prompt: OneOrMany[str] | None
    subject: OneOrMany[Features | None]
    negative_prompt: OneOrMany[str] | None
    guidance: str
    text_scale: OneOrMany[float] | None
    image_scale: OneOrMany[float] | None
    guidance_scale: OneOrMany[float] | None
    image_guidance_scale: OneOrMany[float] | None
    strength: OneOrMany[float]
    num_inference_steps: int
    scheduler: str | SchedulerMixin | None
    savings: Mapping[str, Any]
    height: int | None
    width: int | None
    num_images_per_prompt: int
    generator: Generators
    latents: Tensor | None
    prompt_embeds: Tensor | None
    negative_prompt_embeds: Tensor | None
    pooled_prompt_embeds: Tensor | None
    negative_pooled_prompt_embeds: Tensor | None
    callback_on_step_end: Callable[..., Any] | None
    callback_on_step_end_tensor_inputs: Sequence[str]
    output_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """A call that can run. Lists have one entry per image; embeddings are [images, tokens, width].

    prompts, negative_prompts: None where embeddings stand for them. latent_size: (h, w). scheduler: fresh.
    """

    num_images: int
    prompts: list[str] | None
    negative_prompts: list[str] | None
    prompt_embeds: Tensor | None
    negative_prompt_embeds: Tensor | None
    pooled_prompt_embeds: Tensor | None
    negative_pooled_prompt_embeds: Tensor | None
    subjects: list[Features | None]
    guidance: str
    text_scale: list[float]
    image_scale: list[float]
    strength: list[float]
    num_inference_steps: int
    scheduler: Any
    savings: Savings
    latent_size: tuple[int, int]
    latents: Tensor | None
    generator: torch.Generator | list[torch.Generator] | None
    output_type: str
    callback_tensors: tuple[str, ...]


def check_inputs(pipe: PipelineParts, call: Arguments) -> Inputs:
    """The call with its defaults filled in. Raises InputError, or PromptError for a prompt over the token limit."""
    per_prompt = whole(call.num_images_per_prompt, "num_images_per_prompt", 1)
    num_prompts = _count_prompts(call)
    spread = Spread(num_prompts, per_prompt)
    choice(
        call.guidance, "guidance", GUIDANCES, "'combined' weighs text and reference apart, 'joint' together"
    )
    choice(call.output_type, "output_type", OUTPUT_TYPES, "'pil' gives pictures to save")
    subjects = spread(call.subject, "subject")
    check_subjects(pipe, subjects)
    scales = {
        name: spread.numbers(_either(call, name, alias, pipe.recommended.get(name)), name)
        for name, alias in (("text_scale", "guidance_scale"), ("image_scale", "image_guidance_scale"))
    }
    size = _latent_size(pipe, call, num_prompts * per_prompt)
    texts = _texts(pipe, call, spread)
    return Inputs(
        num_images=num_prompts * per_prompt,
        subjects=subjects,
        guidance=call.guidance,
        strength=spread.numbers(call.strength, "strength", least=0, most=1),
        num_inference_steps=whole(call.num_inference_steps, "num_inference_steps", 1, MOST_STEPS),
        scheduler=_scheduler(pipe, call.scheduler),
        savings=savings_of(call.savings),
        latent_size=size,
        latents=call.latents,
        generator=generators(call.generator, spread),
        output_type=call.output_type,
        callback_tensors=callback_tensors(call.callback_on_step_end, call.callback_on_step_end_tensor_inputs),
        text_scale=scales["text_scale"],
        image_scale=scales["image_scale"],
        **texts,
    )


def _count_prompts(call: Arguments) -> int:
    if (call.prompt is None) == (call.prompt_embeds is None):
        got = "neither" if call.prompt is None else "both"
        refuse("prompt", "given, or prompt_embeds in its place", got, "give one of the two")
    if call.prompt_embeds is not None:
        embeds = call.prompt_embeds
        check_embeds(embeds, "prompt_embeds")
        return len(embeds)
    prompts: object = [call.prompt] if isinstance(call.prompt, str) else call.prompt
    if not isinstance(prompts, Sequence) or not all(isinstance(prompt, str) for prompt in prompts):
        refuse("prompt", "a text or a list of texts", repr(call.prompt)[:60], "write it as text")
    if not prompts:
        refuse("prompt", "at least one text", "an empty list", "give one prompt per image")
    return len(prompts)


def _texts(pipe: PipelineParts, call: Arguments, spread: Spread) -> dict[str, Any]:
    """Prompts and embeddings by the names of `Inputs`."""
    if call.negative_prompt is not None and call.negative_prompt_embeds is not None:
        refuse(
            "negative_prompt", "given, or negative_prompt_embeds in its place", "both", "give one of the two"
        )
    texts: dict[str, Any] = dict.fromkeys(("prompts", "negative_prompts"))
    for name, value, embeds, pooled_name, pooled in (
        ("prompt", call.prompt, call.prompt_embeds, "pooled_prompt_embeds", call.pooled_prompt_embeds),
        (
            "negative_prompt",
            call.negative_prompt,
            call.negative_prompt_embeds,
            "negative_pooled_prompt_embeds",
            call.negative_pooled_prompt_embeds,
        ),
    ):
        texts[f"{name}_embeds"] = spread_embeds(pipe, embeds, f"{name}_embeds", spread)
        texts[pooled_name] = spread_pooled(pipe, pooled, embeds, pooled_name, spread)
        if embeds is None:
            prompts = spread("" if value is None else value, name)
            for prompt in dict.fromkeys(prompts):
                if not isinstance(prompt, str):
                    refuse(name, "a text or a list of texts", repr(prompt)[:60], "write it as text")
                pipe.prompts.check(prompt)
            texts[f"{name}s"] = prompts
    positive, negative = texts["prompt_embeds"], texts["negative_prompt_embeds"]
    tokens = [pipe.num_tokens if one is None else one.shape[1] for one in (positive, negative)]
    if tokens[0] != tokens[1]:
        refuse(
            "negative_prompt_embeds",
            f"of as many tokens as the prompt has ({tokens[0]})",
            tokens[1],
            "embed both in the same way",
        )
    return texts


def _either(call: Arguments, name: str, alias: str, recommended: float | None) -> Any:
    """The value under either of its two names; the adapter's recommendation or the general default for neither."""
    value, other = getattr(call, name), getattr(call, alias)
    if value is not None and other is not None:
        refuse(
            alias, f"left out where {name} is given (two names of one setting)", "both", "give one of the two"
        )
    if value is None and other is None:
        return DEFAULT_SCALES[name] if recommended is None else recommended
    return other if value is None else value


def _latent_size(pipe: PipelineParts, call: Arguments, images: int) -> tuple[int, int]:
    """(h, w) of the latents. Latents that are given decide it, and must agree with height and width."""
    scale, channels = pipe.vae_scale, pipe.base.unet.config.in_channels
    sides = {}
    for name, side in (("height", call.height), ("width", call.width)):
        if side is not None:
            whole = not isinstance(side, bool) and isinstance(side, Integral)
            if not whole or side <= 0 or side % scale:
                refuse(
                    name,
                    f"a positive multiple of {scale} pixels",
                    repr(side),
                    f"e.g. {pipe.info.native_size}",
                )
        sides[name] = (side or pipe.info.native_size) // scale
    if call.latents is None:
        return sides["height"], sides["width"]
    latents: object = call.latents
    asked = call.height is not None or call.width is not None
    shape = f"({images}, {channels}, {sides['height'] if asked else 'h'}, {sides['width'] if asked else 'w'})"
    rule = f"a float tensor of shape {shape}, one noise per image"
    if not isinstance(latents, Tensor):
        refuse("latents", rule, f"a {type(latents).__name__}", "use torch.randn(...), or generator=")
    size = (int(latents.shape[-2]), int(latents.shape[-1])) if latents.dim() == 4 else (0, 0)
    fits = latents.dim() == 4 and latents.shape[:2] == (images, channels) and 0 not in size
    if not fits or (asked and size != (sides["height"], sides["width"])) or not latents.is_floating_point():
        got = f"{latents.dtype} of shape {tuple(latents.shape)}".removeprefix("torch.")
        refuse("latents", rule, got, "give one noise for each image, or leave it out and give generator=")
    if not bool(torch.isfinite(latents).all()):
        refuse("latents", "finite numbers", "NaN or infinity", "use unit noise, torch.randn(...)")
    return size


def _scheduler(pipe: PipelineParts, scheduler: object) -> Any:
    """A fresh scheduler: by name, of the caller's own, or the base's."""
    if scheduler is None:
        return copy.deepcopy(pipe.base.scheduler)
    if isinstance(scheduler, str):
        if scheduler not in SCHEDULERS:
            refuse(
                "scheduler",
                f"one of {', '.join(SCHEDULERS)}, or a diffusers scheduler",
                f"'{scheduler}'{did_you_mean(scheduler, SCHEDULERS)}",
                "None takes the base model's own",
            )
        return make_scheduler(scheduler, pipe.base.scheduler.config)
    if not isinstance(scheduler, SchedulerMixin) or not hasattr(scheduler, "scale_model_input"):
        refuse(
            "scheduler",
            f"one of {', '.join(SCHEDULERS)}, or a diffusers scheduler of a Stable Diffusion",
            f"a {type(scheduler).__name__}",
            "e.g. DDIMScheduler.from_config(pipe.scheduler.config)",
        )
    return copy.deepcopy(scheduler)
