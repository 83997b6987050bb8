"""Images/s and peak memory of each arm on a GPU: the arms of `host` at true size, by turns on one device.

A batch is denoised and not decoded. Knows the arms and one CUDA device; on a machine without one nothing is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

from dreamcache.inference.speed.host import PLAIN, arms, by_turns, ratios
from dreamcache.inference.speed.shapes import Size
from dreamcache.storage.json_object import JsonObject

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceSpeed:
    """Of one arm and batch. ratio: of images/s to plain diffusers', (median, least, most) over rounds."""

    batch: int
    images_per_s: float
    ratio: tuple[float, float, float]
    peak_mib: float | None

    def as_dict(self) -> JsonObject:
        return asdict(self)


def measure_device(
    size: Size,
    *,
    batches: tuple[int, ...],
    steps: int,
    rounds: int,
    dtype: torch.dtype = torch.bfloat16,
    device: str = "cuda",
) -> dict[str, list[DeviceSpeed]]:
    """By arm, an entry a batch size; a size that does not fit in memory is left out. device: "cpu" is for a trial."""
    speeds: dict[str, list[DeviceSpeed]] = {}
    for batch in batches:
        try:
            measured = _of_batch(size, batch, steps, rounds, dtype, device)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        for name, speed in measured.items():
            speeds.setdefault(name, []).append(speed)
    return speeds


def _of_batch(
    size: Size, batch: int, steps: int, rounds: int, dtype: torch.dtype, device: str
) -> dict[str, DeviceSpeed]:
    calls = arms(size, steps=steps, batch=batch, dtype=dtype, device=device)
    return measure_arms(calls, batch=batch, rounds=rounds, device=device)


def measure_arms(
    calls: Mapping[str, Callable[[], object]], *, batch: int, rounds: int, device: str
) -> dict[str, DeviceSpeed]:
    """Calls by name, each of a batch, by turns; one of them is PLAIN, which the ratios are to."""
    peaks = {name: _peak(call, device) for name, call in calls.items()}
    timed = {name: _waited(call, device) for name, call in calls.items()}
    seconds = by_turns(timed, rounds, clock=time.perf_counter)
    return {
        name: DeviceSpeed(
            batch=batch,
            images_per_s=batch / statistics.median(times),
            ratio=ratios(seconds[PLAIN], times),
            peak_mib=peaks[name],
        )
        for name, times in seconds.items()
    }


def _waited(call: Callable[[], object], device: str) -> Callable[[], None]:
    def timed() -> None:
        call()
        if device != "cpu":
            torch.cuda.synchronize()

    return timed


def _peak(call: Callable[[], object], device: str) -> float | None:
    """MiB of tensors at most while it runs, the weights of all arms included."""
    if device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    call()
    return float(torch.cuda.max_memory_allocated() / MIB)
