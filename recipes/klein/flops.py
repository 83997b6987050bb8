"""Counts FLOPs of an image at klein's true shapes on torch's meta device: python -m recipes.klein.flops

ours (keys and values once a subject)  against  the klein-KV pipeline (once an image)  against  no cache at all
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from diffusers import Flux2Transformer2DModel
from diffusers.models.transformers.transformer_flux2 import (
    Flux2KVAttnProcessor,
    Flux2KVCache,
    Flux2KVParallelSelfAttnProcessor,
)
from torch.utils.flop_counter import FlopCounterMode

PATCH = 16
TEXT = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The published transformer of a klein model."""

    name: str
    double: int
    single: int
    heads: int
    text_width: int

    def model(self) -> Flux2Transformer2DModel:
        """Without weights."""
        with torch.device("meta"):
            model = Flux2Transformer2DModel(
                num_layers=self.double,
                num_single_layers=self.single,
                num_attention_heads=self.heads,
                joint_attention_dim=self.text_width,
                guidance_embeds=False,
            )
        for block in model.transformer_blocks:
            block.attn.set_processor(Flux2KVAttnProcessor())
        for block in model.single_transformer_blocks:
            block.attn.set_processor(Flux2KVParallelSelfAttnProcessor())
        return model.eval()


SHAPES = (
    Shape(name="klein 9B", double=8, single=24, heads=32, text_width=12288),
    Shape(name="klein 4B", double=5, single=20, heads=24, text_width=7680),
)


@torch.no_grad()
def flops(model: Flux2Transformer2DModel, *, target: int, reference: int, mode: str, text: int = TEXT) -> int:
    """Of one pass. target, reference, text: tokens. mode: "extract", "cached" or "plain" (references in every pass)."""
    tokens = target if mode == "cached" else target + reference
    config = model.config
    with torch.device("meta"):
        values = {
            "hidden_states": torch.empty(1, tokens, config.in_channels),
            "img_ids": torch.empty(1, tokens, 4),
            "encoder_hidden_states": torch.empty(1, text, config.joint_attention_dim),
            "txt_ids": torch.empty(1, text, 4),
            "timestep": torch.empty(1),
        }
        if mode == "extract":
            values |= {"kv_cache_mode": "extract", "num_ref_tokens": reference}
        if mode == "cached":
            values |= {"kv_cache_mode": "cached", "kv_cache": _cache(model, reference)}
        with FlopCounterMode(display=False) as counter:
            model(guidance=None, return_dict=False, **values)
    return int(counter.get_total_flops())


def _cache(model: Flux2Transformer2DModel, reference: int) -> Flux2KVCache:
    config = model.config
    cache = Flux2KVCache(config.num_layers, config.num_single_layers)
    cache.num_ref_tokens = reference
    shape = (1, reference, config.num_attention_heads, config.attention_head_dim)
    for layer in (*cache.double_block_caches, *cache.single_block_caches):
        layer.store(torch.empty(shape), torch.empty(shape))
    return cache


def rows(shape: Shape, *, side: int, photo_side: int, steps: int, prompts: int) -> list[str]:
    """Lines of a Markdown table for 1 to 4 photos."""
    model, target = shape.model(), (side // PATCH) ** 2
    lines = []
    for photos in (1, 2, 3, 4):
        reference = photos * (photo_side // PATCH) ** 2
        step = flops(model, target=target, reference=reference, mode="cached")
        first = flops(model, target=target, reference=reference, mode="extract")
        plain = flops(model, target=target, reference=reference, mode="plain")
        alone = flops(model, target=0, reference=reference, mode="extract", text=1)
        ours = steps * step + alone / prompts
        pipeline, without = first + (steps - 1) * step, steps * plain
        lines.append(
            f"| {shape.name} | {photo_side} px | {photos} | {ours / 1e12:.0f} | {pipeline / ours:.2f} | "
            f"{without / ours:.2f} |"
        )
    return lines


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="recipes.klein.flops")
    parser.add_argument("--side", type=int, default=1024, help="pixels a side of an image")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=20, help="images of a subject")
    options = parser.parse_args()
    print("| model | photos of | photos | TFLOP an image | klein-KV pipeline / ours | no cache / ours |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for photo_side in (1024, 512):
            values = {"side": options.side, "steps": options.steps, "prompts": options.prompts}
            print("\n".join(rows(shape, photo_side=photo_side, **values)), flush=True)


if __name__ == "__main__":
    main()
