"""What the sections of `recipes.speed.gpu` share: where a section runs and writes, its calls and its rows.

Knows the models of `dreamcache.inference.speed` and one device; must not know the sections.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dreamcache.inference.speed.device import measure_arms
from dreamcache.inference.speed.shapes import (
    FEW_CHANNELS,
    SD21,
    SDXL,
    SDXL_FEW_CHANNELS,
    Size,
    random_embeddings,
    random_subject,
)

STEPS = 10
SDXL_STEPS = 4
"""A step is seven times one of SD 2.1."""
TRIAL = "a processor (a trial, no result)"
Row = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class Bench:
    """Where a section runs and writes. tiny: few channels on a processor. sdxl: at SDXL's size, else SD 2.1's."""

    file: Path
    tiny: bool
    ends_at: float
    sdxl: bool = False
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cpu" if self.tiny else "cuda"

    @property
    def size(self) -> Size:
        if self.sdxl:
            return SDXL_FEW_CHANNELS if self.tiny else SDXL
        return FEW_CHANNELS if self.tiny else SD21

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.tiny else torch.bfloat16

    @property
    def rounds(self) -> int:
        return 1 if self.tiny else 3 if self.sdxl else 5

    @property
    def steps(self) -> int:
        if self.tiny:
            return 2
        return SDXL_STEPS if self.sdxl else STEPS

    @property
    def batches(self) -> tuple[int, ...]:
        if self.tiny:
            return 1, 2
        return (1, 2, 4, 8) if self.sdxl else (1, 4, 8, 16)

    def measure(self, name: str, work: Callable[[], list[Row]]) -> None:
        """Adds the rows of work(), or a note of why there are none."""
        if time.monotonic() > self.ends_at:
            self.notes.append(f"{name}: not measured, the section's seconds were over")
        else:
            try:
                self.rows += work()
            except Exception as error:  # noqa: BLE001 - of a device, a compiler or a package: the next row may do
                self.notes.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        if self.device == "cuda":
            torch.cuda.empty_cache()
        self.write()

    def write(self) -> None:
        on_gpu = self.device == "cuda"
        name = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if on_gpu else TRIAL
        content = {"device": name, "size": self.size.name, "rows": self.rows, "notes": self.notes}
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        partial.replace(self.file)


def common(bench: Bench) -> dict[str, Any]:
    return {"steps": bench.steps, "dtype": bench.dtype, "device": bench.device}


def denoising(
    bench: Bench, pipe: Any, guidance: str, batch: int, dtype: torch.dtype | None = None
) -> Callable[[], Any]:
    """Denoises a batch with references."""
    size, numbers = bench.size, dtype or bench.dtype
    subjects = [random_subject(pipe, size, "s" * (number + 1)) for number in range(batch)]
    text = random_embeddings(size, batch, dtype=numbers, device=bench.device)
    noise = torch.randn(
        batch, 4, size.latent_side, size.latent_side, generator=torch.Generator().manual_seed(0)
    )
    return lambda: pipe(
        subject=subjects,
        guidance=guidance,
        **text,
        num_inference_steps=bench.steps,
        latents=noise.to(bench.device, numbers),
        output_type="latent",
    )


def rows_of(bench: Bench, batch: int, calls: dict[str, Callable[[], Any]]) -> list[Row]:
    """A row an arm; PLAIN is what the ratios are to."""
    measured = measure_arms(calls, batch=batch, rounds=bench.rounds, device=bench.device)
    return [
        {
            "arm": name,
            "batch": batch,
            "passes/s" if bench.file.stem == "klein" else "images/s": round(one.images_per_s, 3),
            "ratio": [round(value, 3) for value in one.ratio],
            "peak MiB": round(one.peak_mib) if one.peak_mib else "",
        }
        for name, one in measured.items()
    ]


def against(rows: list[Row], first: str, difference: float | None) -> list[Row]:
    """The first row under its own name; difference: the largest of a latent's number."""
    renamed = [{**rows[0], "arm": first}, *rows[1:]]
    return renamed if difference is None else [{**row, "largest difference": difference} for row in renamed]
