"""Compiled halves: the same images, hooks included, and nothing is compiled again for another subject or prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from dreamcache.inference.speed.shapes import FEW_CHANNELS, build_pipeline, random_subject, random_text


@pytest.mark.slow
def test_another_subject_compiles_nothing() -> None:
    pipe = build_pipeline(FEW_CHANNELS, dtype=torch.float32, device="cpu")
    subjects = [random_subject(pipe, FEW_CHANNELS, "s" * count) for count in (1, 2, 3)]
    texts = [random_text(FEW_CHANNELS, rows, dtype=torch.float32, device="cpu")[:1] for rows in (1, 2, 3)]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def run(number: int, **savings: Any) -> torch.Tensor:
        images: torch.Tensor = pipe(
            subject=subjects[number],
            prompt_embeds=texts[number],
            negative_prompt_embeds=texts[2],
            latents=noise,
            num_inference_steps=3,
            output_type="latent",
            **savings,
        ).images
        return images

    plain = [run(number) for number in range(3)]
    pipe.compile("default", backend="eager", fullgraph=True)
    counters.clear()
    first = run(0)
    graphs = counters["stats"]["unique_graphs"]
    others = [run(1), run(2)]
    assert graphs == 2 and counters["stats"]["unique_graphs"] == graphs  # a graph a half
    for ours, expected in zip([first, *others], plain, strict=True):
        assert (ours - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (plain[0] - plain[1]).abs().max() > 1e-2
    pipe.compile("off")
    assert torch.equal(run(1), plain[1])
