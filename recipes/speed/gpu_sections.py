"""One section of `recipes.speed.gpu`: measures, and writes its file after each measurement.

    python -m recipes.speed.gpu_sections NAME --out FILE [--tiny]

A measurement that fails costs its own row. Once RECIPE_SECONDS are over, no further one begins. Knows the models of
`dreamcache.inference.speed`; knows nothing of the other sections.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from dreamcache.inference.decode import as_bytes, decoded
from dreamcache.inference.speed.device import measure_arms
from dreamcache.inference.speed.host import COMBINED, JOINT, PLAIN, arms
from dreamcache.inference.speed.shapes import (
    FEW_CHANNELS,
    SD21,
    Size,
    build_pipeline,
    build_vae,
    random_subject,
    random_text,
)
from dreamcache.mini.catalog import write_sample_catalog

STEPS = 10
Row = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class Bench:
    """Where a section runs and writes. tiny: few channels on a processor."""

    file: Path
    tiny: bool
    ends_at: float
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cpu" if self.tiny else "cuda"

    @property
    def size(self) -> Size:
        return FEW_CHANNELS if self.tiny else SD21

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.tiny else torch.bfloat16

    @property
    def rounds(self) -> int:
        return 1 if self.tiny else 5

    @property
    def batches(self) -> tuple[int, ...]:
        return (1, 2) if self.tiny else (1, 4, 8, 16)

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
        name = torch.cuda.get_device_name() if self.device == "cuda" else "a processor (a trial, no result)"
        content = {"device": name, "size": self.size.name, "rows": self.rows, "notes": self.notes}
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        partial.replace(self.file)


def step(bench: Bench) -> None:
    """Plain diffusers, IP-Adapter, joint and combined, with and without savings, by batch."""
    for batch in bench.batches:
        bench.measure(
            f"batch {batch}",
            lambda batch=batch: _rows(bench, batch, arms(bench.size, batch=batch, **_common(bench))),
        )


def compile_(bench: Bench) -> None:
    """The same with compiled halves; the first row of each mode holds the seconds of compiling."""
    modes = ("default",) if bench.tiny else ("default", "max-autotune")
    for mode in modes:
        for batch in bench.batches[::2]:
            bench.measure(f"{mode}, batch {batch}", lambda m=mode, b=batch: _compiled(bench, m, b))


def _compiled(bench: Bench, mode: Any, batch: int) -> list[Row]:
    plain = {PLAIN: arms(bench.size, batch=batch, **_common(bench))[PLAIN]}
    pipe = build_pipeline(bench.size, dtype=bench.dtype, device=bench.device)
    options = {"backend": "eager"} if bench.tiny else {}
    pipe.compile(mode, **options)
    started = time.perf_counter()
    ours = {f"{arm}, compiled {mode}": _call(bench, pipe, arm, batch) for arm in (JOINT, COMBINED)}
    for call in ours.values():
        call()
    seconds = round(time.perf_counter() - started, 1)
    return [{**row, "warm-up s": seconds} for row in _rows(bench, batch, {**plain, **ours})]


def arithmetic(bench: Bench) -> None:
    """What is off by default: channels last, and float32 with TF32 products."""
    batch = bench.batches[-2]

    def channels_last() -> list[Row]:
        pipe = build_pipeline(bench.size, dtype=bench.dtype, device=bench.device)
        as_is = {PLAIN: _call(bench, pipe, COMBINED, batch)}
        wanted = as_is[PLAIN]().images.float()
        other = build_pipeline(bench.size, dtype=bench.dtype, device=bench.device)
        other.base.unet.to(memory_format=torch.channels_last)
        call = _call(bench, other, COMBINED, batch)
        difference = float((call().images.float() - wanted).abs().max())
        rows = _rows(bench, batch, {**as_is, "channels last": call})
        return _against(rows, "combined as it is", difference)

    def tf32() -> list[Row]:
        pipe = build_pipeline(bench.size, dtype=torch.float32, device=bench.device)
        exact = _call(replace(bench, tiny=bench.tiny), pipe, COMBINED, batch, dtype=torch.float32)
        wanted = exact().images

        def rounded() -> Any:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            try:
                return exact()
            finally:
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

        torch.backends.cudnn.allow_tf32 = False
        difference = float((rounded().images - wanted).abs().max())
        return _against(
            _rows(bench, batch, {PLAIN: exact, "float32, TF32 products": rounded}),
            "combined in float32",
            difference,
        )

    bench.measure("channels last", channels_last)
    bench.measure("TF32", tf32)


def vae(bench: Bench) -> None:
    """Decoding to bytes on the host, by rows a pass."""
    latent = bench.size.latent_side
    model = build_vae(bench.size, dtype=bench.dtype, device=bench.device)
    for batch in bench.batches:
        latents = torch.randn(batch, 4, latent, latent).to(bench.device, bench.dtype)

        @torch.no_grad()
        def decode(latents: torch.Tensor = latents) -> Any:
            return as_bytes((decoded(model, latents) / 2 + 0.5).clamp(0, 1))

        bench.measure(f"batch {batch}", lambda b=batch, d=decode: _rows(bench, b, {PLAIN: d}))
    for row in bench.rows:
        row["arm"] = "VAE to bytes"


def klein(bench: Bench) -> None:
    """One pass of klein's transformer at its published shapes, its reference kept and computed."""
    from recipes.klein.flops import SHAPES

    shapes = [replace(SHAPES[-1], double=1, single=1, heads=2, text_width=64)] if bench.tiny else SHAPES[::-1]
    for shape in shapes:
        bench.measure(shape.name, lambda shape=shape: _klein(bench, shape))


@torch.no_grad()
def _klein(bench: Bench, shape: Any) -> list[Row]:
    tokens, text = (16, 8) if bench.tiny else (64 * 64, 512)
    model = shape.model().to_empty(device=bench.device).to(bench.dtype)
    for parameter in model.parameters():
        parameter.normal_(std=0.02)
    config = model.config

    def values(count: int) -> dict[str, Any]:
        numbers = {"device": bench.device, "dtype": bench.dtype}
        return {
            "hidden_states": torch.randn(1, count, config.in_channels, **numbers),
            "img_ids": torch.zeros(1, count, 4, device=bench.device),
            "encoder_hidden_states": torch.randn(1, text, config.joint_attention_dim, **numbers),
            "txt_ids": torch.zeros(1, text, 4, device=bench.device),
            "timestep": torch.ones(1, **numbers),
            "guidance": None,
            "return_dict": False,
        }

    both, target = values(2 * tokens), values(tokens)
    stored = model(**both, kv_cache_mode="extract", num_ref_tokens=tokens)[-1]
    return _against(
        _rows(
            bench,
            1,
            {
                PLAIN: lambda: model(**both),
                f"{shape.name}, a pass with keys and values kept": lambda: model(
                    **target, kv_cache_mode="cached", kv_cache=stored
                ),
            },
        ),
        f"{shape.name}, a pass with the reference in it",
        None,
    )


def job(bench: Bench) -> None:
    """A job on the embedded model, through the command line: what remains when the model is small."""
    images = 4 if bench.tiny else 200

    def of_job() -> list[Row]:
        with tempfile.TemporaryDirectory() as folder:
            write_sample_catalog(folder, images // 2)
            generators = {"count": 1, "cpus": 1} | ({} if bench.tiny else {"gpus": 1})
            spec = {
                "name": "trial",
                "catalog": "catalog.csv",
                "output": "output",
                "prompts": ["a photo of a {class_name}", "a photo of a {class_name} on the beach"],
                "generation": {"num_inference_steps": 2 if bench.tiny else 20},
                "workers": {"generators": generators, "batch_size": 4 if bench.tiny else 16},
            }
            file = Path(folder) / "job.yaml"
            file.write_text(json.dumps(spec), "utf-8")
            program = str(Path(sys.executable).with_name("dreamcache"))
            started = time.perf_counter()
            done = subprocess.run(
                [program, "run", str(file), "--json"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.perf_counter() - started
            if done.returncode:
                raise RuntimeError(done.stderr[-300:])
            return [
                {
                    "arm": "job on mini, from the command to its end",
                    "images": images,
                    "images/s": round(images / seconds, 2),
                }
            ]

    bench.measure("job", of_job)


def _common(bench: Bench) -> dict[str, Any]:
    return {"steps": 2 if bench.tiny else STEPS, "dtype": bench.dtype, "device": bench.device}


def _call(
    bench: Bench, pipe: Any, guidance: str, batch: int, dtype: torch.dtype | None = None
) -> Callable[[], Any]:
    """Denoises a batch with references."""
    size, numbers = bench.size, dtype or bench.dtype
    subjects = [random_subject(pipe, size, "s" * (number + 1)) for number in range(batch)]
    text = random_text(size, batch + 1, dtype=numbers, device=bench.device)
    noise = torch.randn(
        batch, 4, size.latent_side, size.latent_side, generator=torch.Generator().manual_seed(0)
    )
    return lambda: pipe(
        subject=subjects,
        guidance=guidance,
        prompt_embeds=text[1:],
        negative_prompt_embeds=text[:-1],
        num_inference_steps=_common(bench)["steps"],
        latents=noise.to(bench.device, numbers),
        output_type="latent",
    )


def _rows(bench: Bench, batch: int, calls: dict[str, Callable[[], Any]]) -> list[Row]:
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


def _against(rows: list[Row], first: str, difference: float | None) -> list[Row]:
    """The first row under its own name; difference: the largest of a latent's number."""
    renamed = [{**rows[0], "arm": first}, *rows[1:]]
    return renamed if difference is None else [{**row, "largest difference": difference} for row in renamed]


SECTIONS = {
    "step": step,
    "compile": compile_,
    "arithmetic": arithmetic,
    "vae": vae,
    "klein": klein,
    "job": job,
}


def main() -> None:
    """Writes the section's file."""
    parser = argparse.ArgumentParser(prog="python -m recipes.speed.gpu_sections", description=__doc__)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    ends_at = time.monotonic() + float(os.environ.get("RECIPE_SECONDS", "600"))
    bench = Bench(file=options.out, tiny=options.tiny, ends_at=ends_at)
    if not bench.tiny and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --tiny tries the same code on a processor")
    SECTIONS[options.section](bench)
    bench.write()


if __name__ == "__main__":
    main()
