"""Decoding in parts: the VAE's memory is its own, and bytes are those that numpy would round to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline
from dreamcache.inference import decode
from dreamcache.inference.decode import are_finite, as_bytes, decoded


class Narrow:
    """The real VAE on a device that has memory for `most` rows only."""

    def __init__(self, vae: Any, most: int) -> None:
        self.vae, self.most = vae, most
        self.passes: list[int] = []

    def decode(self, latents: torch.Tensor, return_dict: bool = True) -> Any:
        self.passes.append(len(latents))
        if len(latents) > self.most:
            raise torch.OutOfMemoryError("no memory")
        return self.vae.decode(latents, return_dict=return_dict)


@torch.no_grad()
def test_rows_are_halved_once_and_the_images_are_the_same(epsilon_pipe: DreamCachePipeline) -> None:
    vae = epsilon_pipe.base.vae
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    narrow = Narrow(vae, 2)
    images = decoded(narrow, latents)
    assert narrow.passes == [5, 3, 2, 2, 2], "the last part is filled up"
    assert (images - vae.decode(latents, return_dict=False)[0]).abs().max() < 1e-4
    narrow.passes.clear()
    assert len(decoded(narrow, latents[:4])) == 4
    assert narrow.passes == [2, 2], "what did not fit is not tried again"


def test_one_row_that_does_not_fit_and_other_errors_are_the_callers(epsilon_pipe: DreamCachePipeline) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        decoded(Narrow(epsilon_pipe.base.vae, 0), torch.zeros(4, 4, 8, 8))

    class Broken:
        def decode(self, latents: torch.Tensor, return_dict: bool) -> None:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        decoded(Broken(), torch.zeros(2, 4, 8, 8))


def test_a_vae_without_memory_leaves_the_units_of_the_u_net_alone(
    epsilon_pipe: DreamCachePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"num_inference_steps": 1, "output_type": "pt", "height": 64, "width": 64}

    def generate() -> torch.Tensor:
        seeds = [torch.Generator().manual_seed(number) for number in range(3)]
        images: torch.Tensor = epsilon_pipe(["a", "b", "c"], generator=seeds, **options).images
        return images

    wanted = generate()
    real = epsilon_pipe.base.vae.decode

    def narrow(latents: torch.Tensor, **arguments: Any) -> Any:
        if len(latents) > 1:
            raise torch.OutOfMemoryError("no memory")
        return real(latents, **arguments)

    monkeypatch.setattr(epsilon_pipe.base.vae, "decode", narrow)
    try:
        assert (generate() - wanted).abs().max() < 1 / 255
    finally:
        decode._ROWS.pop(epsilon_pipe.base.vae, None)


def test_bytes_are_the_nearest_of_every_dtype() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
        wanted = (images.float().permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
        assert np.array_equal(as_bytes(images), wanted)
    images[1, 0, 3, 3] = torch.nan
    assert are_finite(images) == [True, False]
    assert as_bytes(images).shape == (2, 16, 16, 3)
