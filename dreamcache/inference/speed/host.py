"""Host cost of a step, against plain diffusers: Python and the dispatch of kernels, which a fast GPU waits for.

    the modules of SD 2.1 with few channels -> arms by turns, one thread -> median of the rounds' ratios

Processor time of this process is counted, so other processes do not show. Only ratios within a round count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dreamcache.inference.pipeline import DreamCachePipeline
from dreamcache.inference.speed.shapes import (
    FEW_CHANNELS,
    IP_WIDTH,
    Size,
    build_base,
    build_pipeline,
    load_random_ip_adapter,
    random_embeddings,
    random_subject,
)
from dreamcache.storage.json_object import JsonObject

PLAIN = "plain diffusers"
IP_ADAPTER = "IP-Adapter in diffusers"
JOINT, COMBINED = "joint", "combined"
SAVED = {"reuse_encoder": 2, "reuse_guidance": 2}
"""Settings of the arms with savings."""

Arm = Callable[[], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class HostCost:
    """Of one arm. ratio: to plain diffusers, (median, least, most) over rounds; ms: of a step, of this machine."""

    ratio: tuple[float, float, float]
    ms: float

    def as_dict(self) -> JsonObject:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ArmModels:
    """What the arms of one size call: ours, whose base is the plain one, and a base with IP-Adapter."""

    size: Size
    pipe: DreamCachePipeline
    with_ip: Any
    dtype: torch.dtype
    device: str


def build_models(size: Size, *, dtype: torch.dtype, device: str) -> ArmModels:
    """With random weights."""
    with_ip = build_base(size, dtype=dtype, device=device)
    load_random_ip_adapter(with_ip)
    pipe = build_pipeline(size, dtype=dtype, device=device)
    return ArmModels(size=size, pipe=pipe, with_ip=with_ip, dtype=dtype, device=device)


def arms(size: Size, *, steps: int, batch: int, dtype: torch.dtype, device: str) -> dict[str, Arm]:
    """By name, each a call that denoises a batch in so many steps. The first is plain diffusers."""
    return arms_of(build_models(size, dtype=dtype, device=device), steps=steps, batch=batch)


def arms_of(models: ArmModels, *, steps: int, batch: int) -> dict[str, Arm]:
    """`arms` of models that are there."""
    size, pipe, device, dtype = models.size, models.pipe, models.device, models.dtype
    subjects = [random_subject(pipe, size, "s" * (number + 1)) for number in range(batch)]
    noise = torch.randn(
        batch, 4, size.latent_side, size.latent_side, generator=torch.Generator().manual_seed(0)
    )
    common: dict[str, Any] = {
        **random_embeddings(size, batch, dtype=dtype, device=device),
        "num_inference_steps": steps,
        "latents": noise.to(device, dtype),
        "output_type": "latent",
    }
    photo = torch.randn(2 * batch, 1, IP_WIDTH).to(device, dtype)

    def ours(guidance: str, **savings: Any) -> Arm:
        return lambda: pipe(subject=subjects, guidance=guidance, **common, **savings)

    return {
        PLAIN: lambda: pipe.base(**common),
        IP_ADAPTER: lambda: models.with_ip(ip_adapter_image_embeds=[photo], **common),
        JOINT: ours(JOINT),
        COMBINED: ours(COMBINED),
        f"{JOINT}, savings": ours(JOINT, **SAVED),
        f"{COMBINED}, savings": ours(COMBINED, **SAVED),
    }


def measure_host(*, rounds: int, steps: int = 10, size: Size = FEW_CHANNELS) -> dict[str, HostCost]:
    """Host cost of every arm, batch 1, in this process with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = by_turns(
            arms(size, steps=steps, batch=1, dtype=torch.float32, device="cpu"),
            rounds,
            clock=time.process_time,
        )
    finally:
        torch.set_num_threads(before)
    return {
        name: HostCost(ratio=ratios(times, seconds[PLAIN]), ms=1e3 * statistics.median(times) / steps)
        for name, times in seconds.items()
    }


def by_turns(arms: Mapping[str, Arm], rounds: int, *, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each arm in each round; every second round in the other order, after one pass that is not counted."""
    for arm in arms.values():
        arm()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms)[:: 1 if number % 2 == 0 else -1]:
            started = clock()
            arms[name]()
            seconds[name].append(clock() - started)
    return seconds


def ratios(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """(median, least, most) of the rounds' ratios."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return statistics.median(values), min(values), max(values)
