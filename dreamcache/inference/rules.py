"""Rules of single arguments, and how a refusal reads: name, rule, what came instead, remedy.

Knows forms of values; knows nothing of a pipeline (see `inputs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NoReturn

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from torch import Tensor

from dreamcache.core.config.savings import WHOLE, Savings
from dreamcache.core.errors import ModelError, did_you_mean

CALLBACK_TENSORS = ("latents",)


class InputError(ModelError, ValueError):
    """An argument breaks a rule. A ValueError too, as diffusers' pipelines raise."""

    code = "bad_input"


def refuse(name: str, rule: str, got: object, remedy: str) -> NoReturn:
    """Raises InputError: `name` must be `rule`, got `got`; `remedy`."""
    raise InputError(f"{name}: must be {rule}, got {got}; {remedy}")


@dataclass(frozen=True, slots=True)
class Spread:
    """One entry per image: a single value for all, one per prompt, or one per image already."""

    num_prompts: int
    per_prompt: int

    def __call__(self, value: Any, name: str) -> list[Any]:
        images = self.num_prompts * self.per_prompt
        if isinstance(value, str) or not isinstance(value, Sequence):
            return [value] * images
        values = list(value)
        if len(values) == images:
            return values
        if len(values) == self.num_prompts:
            return [one for one in values for _ in range(self.per_prompt)]
        rule = f"one value, or one per prompt ({self.num_prompts}) or per image ({images})"
        refuse(name, rule, f"{len(values)} of them", "give as many as there are prompts")

    def numbers(self, value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> list[float]:
        values = self(value, name)
        bounds = "" if least == -math.inf else f" from {least:g} to {most:g}"
        for one in values:
            if isinstance(one, bool) or not isinstance(one, Real) or not math.isfinite(one):
                refuse(name, f"a finite number{bounds}", repr(one), "give a number, or one per prompt")
            if not least <= float(one) <= most:
                refuse(name, f"a finite number{bounds}", repr(one), f"use {most:g} for the full effect")
        return values


def whole(value: object, name: str, least: int, most: int | None = None) -> int:
    """A whole number within bounds."""
    rule = f"a whole number from {least} to {most}" if most else f"a whole number, at least {least}"
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        refuse(name, rule, repr(value), f"e.g. {least if most is None else 50}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def choice(value: object, name: str, choices: Sequence[str], remedy: str) -> None:
    """One of these words, with "did you mean" for one that is near."""
    if value not in choices:
        close = did_you_mean(str(value), choices)
        refuse(name, f"one of {', '.join(choices)}", f"{value!r}{close}", remedy)


def generators(generator: Any, spread: Spread) -> torch.Generator | list[torch.Generator] | None:
    """One for all, or one per image; on the CPU."""
    if generator is None:
        return None
    several = spread(generator, "generator") if isinstance(generator, Sequence) else [generator]
    for one in several:
        if not isinstance(one, torch.Generator) or one.device.type != "cpu":
            got = f"one on {one.device}" if isinstance(one, torch.Generator) else f"a {type(one).__name__}"
            rule = "torch.Generators on the CPU, so that every device starts from the same noise"
            refuse("generator", rule, got, "use torch.Generator().manual_seed(seed)")
    return several if isinstance(generator, Sequence) else several[0]


def savings_of(arguments: Mapping[str, Any]) -> Savings:
    """The savings that a call names. TypeError for another name, as of any call."""
    unknown = sorted(set(arguments) - set(Savings.__dataclass_fields__))
    if unknown:
        raise TypeError(f"got an unexpected keyword argument '{unknown[0]}'")
    for name in ("reuse_encoder", "reuse_guidance"):
        whole(arguments.get(name, 1), name, 1, 10)
    try:
        start, end = arguments.get("guidance_interval", WHOLE)
        return Savings(**{**arguments, "guidance_interval": (start, end)})
    except (TypeError, ValueError):
        rule = "two shares of the steps from 0 to 1, the first below the second"
        got = repr(arguments.get("guidance_interval"))[:60]
        refuse("guidance_interval", rule, got, "(0.0, 1.0) guides every step")


def callback_tensors(callback: object, names: Sequence[str]) -> tuple[str, ...]:
    """Names of the tensors that a callback sees; diffusers' callback objects bring their own."""
    if callback is not None and not callable(callback):
        rule = "a function (pipe, step, timestep, tensors) -> tensors"
        refuse("callback_on_step_end", rule, f"a {type(callback).__name__}", "give a function")
    if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
        names = callback.tensor_inputs
    if isinstance(names, str) or any(name not in CALLBACK_TENSORS for name in names):
        refuse(
            "callback_on_step_end_tensor_inputs",
            f"a list of {', '.join(CALLBACK_TENSORS)}",
            repr(names),
            "text and reference are fixed when the call starts",
        )
    return tuple(names)


def check_embeds(embeds: object, name: str) -> None:
    """A float tensor [prompts, tokens, width]."""
    if (
        not isinstance(embeds, Tensor)
        or embeds.dim() != 3
        or not embeds.is_floating_point()
        or not len(embeds)
    ):
        got = f"shape {tuple(embeds.shape)}" if isinstance(embeds, Tensor) else f"a {type(embeds).__name__}"
        refuse(name, "a float tensor [prompts, tokens, width]", got, "take them from pipe.base.encode_prompt")
