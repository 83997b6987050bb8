"""How long a run takes, from what was measured of a few items: start-up, then encoding and generating side by side.

    Calibration, declared workers -> seconds until the end (low, high), GPU-hours and CPU-hours

Knows numbers; measures nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.config.job import JobSpec

SPREAD = 1.3
"""How much slower than its slowest measured batch a run may well be: storage, uneven nodes, a last short batch."""

RAY_SECONDS = (5.0, 15.0)
"""From the command to the workers' processes: Ray's start, or joining it, and the first processes. Not measured by
--calibrate, which starts none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Measured here. load_seconds: imports, models and what a session opens. image_seconds: of one generator, the
    fastest and the slowest batch's share for one image, and where sizes differ the mean over them; encode_seconds:
    median of one photo; image_bytes: mean of the stored files."""

    device: str
    items: int
    batches: int
    load_seconds: float
    encode_seconds: float
    image_seconds: tuple[float, float]
    image_bytes: float


Range = tuple[float, float]


def run_time(
    spec: JobSpec, measured: Calibration, items: int, references: int
) -> tuple[Range | None, Range | None, Range | None, str]:
    """(ETA, GPU-hours, CPU-hours, note). Encoding and generating overlap: the slower of the two counts."""
    workers = spec.workers
    if workers.generators.gpus > 0 and measured.device == "cpu":
        note = "the job declares GPUs and this machine has none, so its time is not known; calibrate on such a GPU"
        return None, None, None, note
    encoding = references * measured.encode_seconds / workers.encoders.count
    fast, slow = (
        max(encoding, items * seconds / workers.generators.count) for seconds in measured.image_seconds
    )
    start = start_up(measured)
    eta = (start[0] + fast, start[1] + SPREAD * slow) if items else (0.0, 0.0)
    note = (
        "one batch was timed, with its warm-up; a larger --calibrate is more exact"
        if measured.batches < 2
        else ""
    )
    gpu_hours, cpu_hours = ((eta[0] * n / 3600, eta[1] * n / 3600) for n in (workers.gpus, workers.cpus))
    return eta, gpu_hours, cpu_hours, note


def start_up(measured: Calibration) -> Range:
    """Seconds until the first batch: Ray, then workers that import and load what this process did, perhaps several on
    one machine at a time."""
    return RAY_SECONDS[0] + measured.load_seconds, RAY_SECONDS[1] + 2 * measured.load_seconds
