"""Counts parameters, features and FLOPs at SDXL's true shapes on torch's meta device: python -m recipes.sdxl.flops"""

from __future__ import annotations

import argparse

import torch

from dreamcache.core.config import GenerationSettings
from dreamcache.inference.speed.count import TERA, count
from dreamcache.inference.speed.shapes import SD21, SDXL, Size, build_adapter, build_unet
from dreamcache.model.places import feature_shapes

FLOAT16 = 2


def rows(size: Size, steps: int) -> list[str]:
    """Lines of a Markdown table."""
    unet = build_unet(size, dtype=torch.float32, device="meta")
    adapter = build_adapter(unet, dtype=torch.float32, device="meta")
    side = size.latent_side
    shapes = feature_shapes(unet, adapter.places, (side, side)).values()
    numbers = sum(torch.Size(shape).numel() for shape in shapes)
    projected = sum(
        2 * channels * height * width
        for channels, (_, height, width) in zip(
            (adapter.shapes[place].channels for place in adapter.places), shapes, strict=True
        )
    )
    parts = count(size)
    settings = GenerationSettings(num_inference_steps=steps)
    image, joint = (parts.image(settings, mode) / TERA for mode in ("combined", "joint"))
    plain = parts.image(settings, "text") / TERA
    whole = steps * 3 * (parts.encoder + parts.decoder + parts.adapters) / TERA + parts.vae / TERA
    encoding = (parts.encoder + parts.decoder) / TERA
    values = {
        "parameters of the U-Net": f"{_millions(unet)} M",
        "parameters of the adapter": f"{_millions(adapter)} M at {len(adapter.places)} places",
        "features of a photo, float16": f"{numbers * FLOAT16 / 1e6:.1f} MB",
        "keys and values of a photo on the device, bfloat16": f"{projected * FLOAT16 / 1e6:.1f} MB",
        "TFLOP of an encoder half, a decoder half": f"{parts.encoder / TERA:.2f}, {parts.decoder / TERA:.2f}",
        "TFLOP that the adapter adds to a row": f"{parts.adapters / TERA:.3f}",
        "TFLOP of keys and values, once a subject": f"{parts.project / TERA:.3f}",
        "TFLOP of a photo's U-Net pass, at most": f"{encoding:.2f}",
        "TFLOP of decoding an image": f"{parts.vae / TERA:.2f}",
        f"TFLOP of an image, {steps} steps, text alone": f"{plain:.0f}",
        "the same with a reference, joint guidance": f"{joint:.0f}",
        "the same, combined guidance, encoder half shared": f"{image:.0f}",
        "the same, combined guidance in three whole passes": f"{whole:.0f}",
    }
    return [f"| {name} | {value} |" for name, value in values.items()]


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="recipes.sdxl.flops")
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    for size in (SDXL, SD21):
        print(f"| {size.name}, {size.side} px | |\n|---|---|")
        print("\n".join(rows(size, options.steps)), flush=True)


if __name__ == "__main__":
    main()
