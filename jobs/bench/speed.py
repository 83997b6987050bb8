"""`dreamcache bench speed`: what an image costs, ours against plain diffusers and IP-Adapter, in one run.

    FLOPs counted at SD 2.1's size | host cost of a step | on a GPU images/s and peak memory -> Markdown or JSON

The measuring is `dreamcache.inference.speed`; this module chooses what runs and writes tables. Imports torch inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dreamcache.core.config import SAVINGS, GenerationSettings
from dreamcache.storage.json_object import JsonObject

STEPS = 20
GPU_BATCHES = (1, 4, 8)
GPU_STEPS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedReport:
    """flops: rows of (settings, TFLOP an image by arm). host, operations, device: by arm; device None without a GPU.

    operations: of a step, counted, so that load does not show.
    """

    flops: list[dict[str, Any]]
    host: dict[str, Any]
    operations: dict[str, Any]
    device_name: str | None
    device: dict[str, Any] | None

    def as_dict(self) -> JsonObject:
        return asdict(self)

    def markdown(self) -> str:
        """Tables for a document."""
        parts = [
            "TFLOP an image, counted at SD 2.1's size, 512 px, decoding included:",
            _table(
                ("settings", *_ARMS),
                [(row["settings"], *(f"{row[a]:.1f}" for a in _ARMS)) for row in self.flops],
            ),
            "Host cost of a step, against plain diffusers (median, least and most of the rounds):",
            _table(
                ("arm", "ratio", "ms a step here"),
                [(name, _three(cost["ratio"]), f"{cost['ms']:.1f}") for name, cost in self.host.items()],
            ),
        ]
        parts += ["Operations of a step, counted:", _table(_OPERATIONS, _operation_rows(self.operations))]
        if self.device is not None:
            parts += [f"On {self.device_name}:", _table(_DEVICE_COLUMNS, _device_rows(self.device))]
        return "\n\n".join(parts)


_ARMS = ("plain", "IP-Adapter", "joint", "combined")
_OPERATIONS = ("arm", "dispatched by torch", "ratio to plain", "calls in Python", "ratio to plain")
_DEVICE_COLUMNS = ("arm", "batch", "images/s", "ratio to plain", "peak MiB")
SETTINGS: Mapping[str, GenerationSettings] = {
    "50 steps": GenerationSettings(num_inference_steps=50),
    "20 steps": GenerationSettings(num_inference_steps=STEPS),
    "20 steps, reuse_encoder 2": GenerationSettings(num_inference_steps=STEPS, reuse_encoder=2),
    "20 steps, reuse_guidance 2": GenerationSettings(num_inference_steps=STEPS, reuse_guidance=2),
    "20 steps, both": GenerationSettings(num_inference_steps=STEPS, reuse_encoder=2, reuse_guidance=2),
    "20 steps, guidance_interval 0 to 0.8": GenerationSettings(
        num_inference_steps=STEPS, guidance_interval=(0.0, 0.8)
    ),
}


def measure_speed(*, rounds: int, gpu: bool) -> SpeedReport:
    """gpu: whether this machine's GPU is measured too, where it has one."""
    import torch

    from dreamcache.inference.session import silence_libraries
    from dreamcache.inference.speed.device import measure_device
    from dreamcache.inference.speed.host import measure_host
    from dreamcache.inference.speed.operations import count_operations
    from dreamcache.inference.speed.shapes import SD21

    silence_libraries()
    operations = {name: one.as_dict() for name, one in count_operations().items()}
    host = {name: cost.as_dict() for name, cost in measure_host(rounds=rounds).items()}
    device, name = None, None
    if gpu and torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        speeds = measure_device(SD21, batches=GPU_BATCHES, steps=GPU_STEPS, rounds=rounds)
        device = {arm: [one.as_dict() for one in rows] for arm, rows in speeds.items()}
    return SpeedReport(flops=count_flops(), host=host, operations=operations, device_name=name, device=device)


def count_flops() -> list[JsonObject]:
    """TFLOP an image for each of SETTINGS and arm; diffusers' own have no savings."""
    from dreamcache.inference.families.sd_sizes import predictions_of
    from dreamcache.inference.speed.count import TERA, count

    parts = count()
    return [
        {
            "settings": name,
            "plain": parts.image(replace(settings, **SAVINGS), "text") / TERA,
            "IP-Adapter": parts.ip_adapter_image(predictions_of(settings)) / TERA,
            "joint": parts.image(settings, "joint") / TERA,
            "combined": parts.image(settings, "combined") / TERA,
        }
        for name, settings in SETTINGS.items()
    ]


def _operation_rows(operations: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    return [
        (
            arm,
            f"{one['dispatched']:.0f}",
            f"{one['dispatched_ratio']:.3f}",
            f"{one['calls']:.0f}",
            f"{one['calls_ratio']:.3f}",
        )
        for arm, one in operations.items()
    ]


def _device_rows(device: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[tuple[str, ...]]:
    return [
        (
            arm,
            str(one["batch"]),
            f"{one['images_per_s']:.2f}",
            _three(one["ratio"]),
            f"{one['peak_mib']:.0f}" if one["peak_mib"] else "",
        )
        for arm, rows in device.items()
        for one in rows
    ]


def _three(values: Iterable[float]) -> str:
    middle, least, most = values
    return f"{middle:.3f} [{least:.3f}, {most:.3f}]"


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(columns)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
