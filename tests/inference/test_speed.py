"""Counting and timing: FLOPs are those of the real passes, and the comparison runs; dtypes by what a job declares."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.job import JobSpec, ModelSpec, WorkerSpec, WorkersSpec
from dreamcache.inference.speed.count import count, flops
from dreamcache.inference.speed.host import COMBINED, JOINT, PLAIN, arms, ratios
from dreamcache.inference.speed.operations import calls, count_operations, dispatched
from dreamcache.inference.speed.shapes import FEW_CHANNELS

SMALL = replace(FEW_CHANNELS, side=64)


def test_flops_of_an_image_are_those_of_its_calls() -> None:
    """The real loops on the processor: plain diffusers, and ours with its projections counted apart."""
    steps = 2
    parts = count(SMALL)
    calls = arms(SMALL, steps=steps, batch=1, dtype=torch.float32, device="cpu")
    settings = GenerationSettings(num_inference_steps=steps)
    saving = replace(settings, reuse_encoder=2, reuse_guidance=2)
    calls[COMBINED]()  # projections are kept from here on
    assert flops(calls[PLAIN]) == pytest.approx(parts.image(settings, "text") - parts.vae, rel=1e-3)
    assert flops(calls[COMBINED]) == pytest.approx(parts.image(settings) - parts.vae, rel=2e-3)
    ours = flops(calls[f"{COMBINED}, savings"])
    assert ours == pytest.approx(parts.image(saving) - parts.vae, rel=5e-3)


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([2.0, 8.0, 3.0], [1.0, 2.0, 1.0]) == (3.0, 2.0, 4.0)


def test_auto_is_bfloat16_where_generators_declare_a_gpu() -> None:
    job = JobSpec(name="a", catalog="c.csv", output="out")
    gpu = replace(job, workers=WorkersSpec(generators=WorkerSpec(gpus=0.5)))
    assert (job.model.dtype, job.dtype, gpu.dtype) == ("auto", "float32", "bfloat16")
    assert replace(gpu, model=ModelSpec(dtype="float32")).dtype == "float32"
    assert gpu.model_to_open == ModelSpec(dtype="bfloat16")


@pytest.mark.slow
def test_a_step_calls_hardly_more_of_python_than_plain_diffusers() -> None:
    """Counted, so that a busy machine does not show; the bars are those of the host cost."""
    counted = count_operations()
    assert counted[JOINT].calls_ratio <= 1.05 and counted[COMBINED].calls_ratio <= 1.12
    assert counted[JOINT].dispatched_ratio <= 1 and counted[COMBINED].dispatched_ratio <= 1


def test_calls_and_operations_are_counted_in_one_call_alone() -> None:
    numbers = torch.ones(3)
    assert dispatched(lambda: numbers + 1) == 1
    assert calls(lambda: [str(number) for number in range(5)]) >= 1
    assert dispatched(lambda: None) == 0
