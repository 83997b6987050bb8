"""Savings of sampling: which halves and branches run, that nothing else changes, and that ids know them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core.config import SAVINGS, GenerationSettings
from dreamcache.core.config.savings import Guided, Savings
from dreamcache.inference.families.sd_sizes import passes_per_image
from dreamcache.inference.rules import InputError
from dreamcache.model import denoiser
from dreamcache.model.features import SubjectFeatures

STEPS = 5
SETTINGS = GenerationSettings(num_inference_steps=STEPS, text_scale=3.0, image_scale=2.0)
CASES: list[dict[str, Any]] = [
    {"reuse_encoder": 2},
    {"reuse_guidance": 2},
    {"reuse_encoder": 3, "reuse_guidance": 2},
    {"guidance_interval": (0.3, 0.7)},
    {"guidance_interval": (0.3, 0.7), "reuse_encoder": 2},
]


@pytest.fixture(scope="module")
def subject(epsilon_pipe: DreamCachePipeline) -> SubjectFeatures:
    return epsilon_pipe.encode_reference(Image.new("RGB", (64, 64), "red"))


def latents(
    pipe: DreamCachePipeline, subject: SubjectFeatures, seeds: tuple[int, ...], **options: Any
) -> Any:
    return pipe(
        ["a mug"] * len(seeds),
        subject,
        num_inference_steps=STEPS,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="latent",
        height=128,
        width=64,
        **options,
    ).images


@lru_cache
def without_savings(pipe: DreamCachePipeline, subject: SubjectFeatures, guidance: str) -> Any:
    return latents(pipe, subject, (1,), guidance=guidance, scheduler="ddim")


def test_the_work_of_each_prediction() -> None:
    kinds = [(one.guided, one.encodes) for one in Savings(reuse_encoder=2, reuse_guidance=2).work(4)]
    assert kinds == [(Guided.ALL, True), (Guided.KEPT, False), (Guided.ALL, True), (Guided.KEPT, False)]
    # The state of a prediction with one branch has no rows for the others, so the next one encodes.
    late = Savings(reuse_encoder=4, guidance_interval=(0.5, 1.0)).work(4)
    assert [(one.guided, one.encodes) for one in late] == [
        (Guided.NOT, True),
        (Guided.NOT, False),
        (Guided.ALL, True),
        (Guided.ALL, False),
    ]


@pytest.mark.parametrize("savings", CASES)
@pytest.mark.parametrize("guidance", ["combined", "joint"])
def test_halves_that_run_are_those_that_estimates_count(
    epsilon_pipe: DreamCachePipeline,
    subject: SubjectFeatures,
    monkeypatch: pytest.MonkeyPatch,
    savings: dict[str, Any],
    guidance: Any,
) -> None:
    rows = {"encoder_half": 0, "decoder_half": 0}
    for name in rows:
        run = getattr(denoiser, name)

        def counting(unet: Any, *args: Any, name: str = name, run: Any = run) -> Any:
            rows[name] += len(args[2] if name == "encoder_half" else args[1])  # of the text
            return run(unet, *args)

        monkeypatch.setattr(denoiser, name, counting)
    images = latents(epsilon_pipe, subject, (1,), guidance=guidance, scheduler="ddim", **savings)
    passes = passes_per_image(replace(SETTINGS, guidance=guidance, **savings))
    assert rows == {"encoder_half": passes.encoder_halves, "decoder_half": passes.decoder_halves}
    whole = without_savings(epsilon_pipe, subject, guidance)
    assert torch.isfinite(images).all() and not torch.equal(images, whole)


@pytest.mark.parametrize("savings", CASES[2:4])
def test_each_row_with_savings_is_its_solo_run(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures, savings: dict[str, Any]
) -> None:
    together = latents(epsilon_pipe, subject, (1, 2), **savings)
    for row, seed in enumerate((1, 2)):
        [alone] = latents(epsilon_pipe, subject, (seed,), **savings)
        assert (together[row] - alone).abs().max() < 1e-4 * alone.abs().max()


def test_a_kept_difference_is_the_guidance_of_the_prediction_before(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    """At the same latents and timestep, both predictions are equal."""
    pipe = epsilon_pipe
    assert pipe.projections is not None
    conditions = denoiser.Conditions(
        mode="combined",
        text=pipe.prompts(["a mug"]),
        null_text=pipe.prompts([""]),
        subjects=[pipe.projections.get(subject)],
        text_scale=torch.tensor([3.0]),
        image_scale=torch.tensor([2.0]),
        strength=torch.ones(1),
    )
    x, t = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor(401)
    savings = Savings(reuse_guidance=2, reuse_encoder=2)
    with torch.no_grad():
        model = denoiser.GuidedDenoiser(pipe.base.unet, pipe.adapter, conditions, savings=savings)
        with model.running(2):
            whole, kept = model(x, t), model(x, t)
    assert (whole - kept).abs().max() < 1e-4 * whole.abs().max()


def test_hooks_are_gone_after_a_call_that_fails(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def fault(*args: Any) -> Any:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        latents(epsilon_pipe, subject, (1,), callback_on_step_end=fault)
    modules = list(epsilon_pipe.base.unet.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_latents_of_a_callback_may_take_part_in_a_gradient(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def guided(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        with torch.enable_grad():
            x = tensors["latents"].detach().requires_grad_()
            (x**2).sum().backward()
        return {"latents": tensors["latents"] - 0.01 * x.grad}

    assert torch.isfinite(latents(epsilon_pipe, subject, (1,), callback_on_step_end=guided)).all()


def test_ids_know_savings_and_stay_without() -> None:
    assert not set(SAVINGS) & set(SETTINGS.as_dict())
    assert replace(SETTINGS, reuse_encoder=2).as_dict()["reuse_encoder"] == 2
    with pytest.raises(ValueError, match="guidance_interval must be two shares, the first below the second"):
        replace(SETTINGS, guidance_interval=(0.8, 0.2))


@pytest.mark.parametrize(
    "wrong", [{"guidance_interval": (1.0, 0.5)}, {"guidance_interval": 3}, {"reuse_encoder": 0}]
)
def test_the_pipeline_refuses(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        latents(epsilon_pipe, subject, (1,), **wrong)
