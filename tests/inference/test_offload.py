"""`enable_model_cpu_offload`: models are loaded for their passes only."""

from __future__ import annotations

from typing import Any

import accelerate
import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline, SubjectFeatures
from dreamcache.core.errors import ModelError
from tests.end_to_end.photos import picture
from tests.inference.test_citizen import generator, load, same_maps, subject

__all__ = ["subject"]

STEPS: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_offloading_needs_a_gpu(epsilon_pipe: DreamCachePipeline) -> None:
    with pytest.raises(ModelError, match="enable_model_cpu_offload: needs a GPU, and torch finds none here"):
        epsilon_pipe.enable_model_cpu_offload()


def test_offloaded_models_are_loaded_for_their_passes(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hooks of accelerate that offloading installs, with the CPU for a GPU: each is asked to load its model."""
    pipe = load(epsilon_pipe)
    loads: list[str] = []
    pre_forward = accelerate.hooks.CpuOffload.pre_forward

    def count(self: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        loads.append(type(module).__name__)
        return pre_forward(self, module, *args, **kwargs)

    monkeypatch.setattr(accelerate.hooks.CpuOffload, "pre_forward", count)
    for name in ("text_encoder", "unet", "vae"):
        accelerate.cpu_offload_with_hook(getattr(pipe.base, name), "cpu")
    assert same_maps(pipe.encode_reference(picture(0)), subject)
    assert set(loads) == {"AutoencoderKL", "CLIPTextModel", "UNet2DConditionModel"}
    loads.clear()
    ours, theirs = (
        one("a mug", subject, generator=generator(), num_inference_steps=2, output_type="np").images
        for one in (pipe, epsilon_pipe)
    )
    assert np.array_equal(ours, theirs)
    assert loads[-2:] == ["UNet2DConditionModel", "AutoencoderKL"]
