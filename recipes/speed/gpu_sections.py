"""One section of `recipes.speed.gpu`: measures, and writes its file after each measurement.

    python -m recipes.speed.gpu_sections NAME --out FILE [--tiny]

A measurement that fails costs its own row. Once RECIPE_SECONDS are over, no further one begins. Knows the models of
`dreamcache.inference.speed`; knows nothing of the other sections.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dreamcache.inference.decode import as_bytes, decoded
from dreamcache.inference.speed.host import (
    COMBINED,
    IP_ADAPTER,
    JOINT,
    PLAIN,
    ArmModels,
    arms,
    arms_of,
    build_models,
)
from dreamcache.inference.speed.shapes import build_pipeline, build_vae
from recipes.speed.gpu_bench import Bench, Row, against, common, denoising, rows_of
from recipes.speed.gpu_job import job

SAVED_ARM = f"{COMBINED}, savings"


def step(bench: Bench) -> None:
    """Plain diffusers, IP-Adapter, joint and combined, with and without savings, by batch."""
    for batch in bench.batches:
        bench.measure(
            f"batch {batch}",
            lambda batch=batch: rows_of(bench, batch, arms(bench.size, batch=batch, **common(bench))),
        )


def sdxl(bench: Bench) -> None:
    """The same at SDXL's size, 1024 px, with one pair of models for all batches."""
    models: dict[str, ArmModels] = {}

    def of_batch(batch: int) -> list[Row]:
        if not models:
            models["all"] = build_models(bench.size, dtype=bench.dtype, device=bench.device)
        calls = arms_of(models["all"], steps=bench.steps, batch=batch)
        return rows_of(
            bench, batch, {name: calls[name] for name in (PLAIN, IP_ADAPTER, JOINT, COMBINED, SAVED_ARM)}
        )

    for batch in bench.batches:
        bench.measure(f"batch {batch}", lambda batch=batch: of_batch(batch))


def compile_(bench: Bench) -> None:
    """The same with compiled halves; the first row of each mode holds the seconds of compiling."""
    modes = ("default",) if bench.tiny else ("default", "max-autotune")
    for mode in modes:
        for batch in bench.batches[::2]:
            bench.measure(f"{mode}, batch {batch}", lambda m=mode, b=batch: _compiled(bench, m, b))


def _compiled(bench: Bench, mode: Any, batch: int) -> list[Row]:
    plain = {PLAIN: arms(bench.size, batch=batch, **common(bench))[PLAIN]}
    pipe = build_pipeline(bench.size, dtype=bench.dtype, device=bench.device)
    options = {"backend": "eager"} if bench.tiny else {}
    pipe.compile(mode, **options)
    started = time.perf_counter()
    ours = {f"{arm}, compiled {mode}": denoising(bench, pipe, arm, batch) for arm in (JOINT, COMBINED)}
    for call in ours.values():
        call()
    seconds = round(time.perf_counter() - started, 1)
    return [{**row, "warm-up s": seconds} for row in rows_of(bench, batch, {**plain, **ours})]


def arithmetic(bench: Bench) -> None:
    """What is off by default: channels last, and float32 with TF32 products."""
    batch = bench.batches[-2]

    def channels_last() -> list[Row]:
        pipe = build_pipeline(bench.size, dtype=bench.dtype, device=bench.device)
        as_is = {PLAIN: denoising(bench, pipe, COMBINED, batch)}
        wanted = as_is[PLAIN]().images.float()
        other = build_pipeline(bench.size, dtype=bench.dtype, device=bench.device)
        other.base.unet.to(memory_format=torch.channels_last)
        call = denoising(bench, other, COMBINED, batch)
        difference = float((call().images.float() - wanted).abs().max())
        rows = rows_of(bench, batch, {**as_is, "channels last": call})
        return against(rows, "combined as it is", difference)

    def tf32() -> list[Row]:
        pipe = build_pipeline(bench.size, dtype=torch.float32, device=bench.device)
        exact = denoising(bench, pipe, COMBINED, batch, dtype=torch.float32)
        wanted = exact().images

        def rounded() -> Any:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            try:
                return exact()
            finally:
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

        torch.backends.cudnn.allow_tf32 = False
        difference = float((rounded().images - wanted).abs().max())
        return against(
            rows_of(bench, batch, {PLAIN: exact, "float32, TF32 products": rounded}),
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

        bench.measure(f"batch {batch}", lambda b=batch, d=decode: rows_of(bench, b, {PLAIN: d}))
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
    return against(
        rows_of(
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


SECTIONS = {
    "step": step,
    "sdxl": sdxl,
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
    bench = Bench(file=options.out, tiny=options.tiny, ends_at=ends_at, sdxl=options.section == "sdxl")
    if not bench.tiny and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --tiny tries the same code on a processor")
    SECTIONS[options.section](bench)
    bench.write()


if __name__ == "__main__":
    main()
