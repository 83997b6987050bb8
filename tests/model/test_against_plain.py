"""The product's method against an independent rendering of the formulas (tests/model/plain.py)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dreamcache import DreamCachePipeline, SubjectFeatures
from dreamcache.model.adapter_io import named_tensors
from tests.model.plain import PlainModel, ddim_step

STEPS = 2
PROMPTS = ["a mug on a beach", "a dog"]
TEXT_SCALE, IMAGE_SCALE = 7.5, 0.4


def photo(number: int = 0) -> Image.Image:
    values = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
    return Image.fromarray(values).resize((160, 160), Image.Resampling.BICUBIC)


TOLERANCE = 5e-5
"""Of the largest latent."""

WRONG: dict[str, dict[str, Any]] = {
    "another subject": {"photo": 1},
    "no subject": {"photo": None},
    "another prompt": {"prompts": ["a cat", "a dog on a beach"]},
    "a negative prompt": {"negative": "blurry"},
    "prompts swapped": {"prompts": PROMPTS[::-1]},
    "text scale": {"text_scale": 3.0},
    "image scale": {"image_scale": 2.0},
    "scales swapped": {"text_scale": IMAGE_SCALE, "image_scale": TEXT_SCALE},
    "noise": {"noise": 4},
    "steps offset": {"offset": 0},
    "keys and values swapped": {"change": "swap"},
    "features after the norm": {"change": "normed features"},
    "queries of norm1(x)": {"change": "normed queries"},
}
"""One input of the independent computation at a time, changed to another."""


def plain_latents(pipe: DreamCachePipeline, base_name: str, guidance: str, **changes: Any) -> torch.Tensor:
    """The whole sampling by the formulas; `changes`: of one of the inputs, see WRONG."""
    wrong = {
        "photo": 0, "prompts": PROMPTS, "negative": "", "text_scale": TEXT_SCALE, "image_scale": IMAGE_SCALE,
        "noise": 3, "offset": 1, "change": "", "prediction": base_name, **changes,
    }  # fmt: skip
    weights = dict(named_tensors(pipe.adapter))
    if wrong["change"] == "swap":
        swapped = {"to_k": "to_v", "to_v": "to_k"}
        names = {name: name.replace(a, b) for name in weights for a, b in swapped.items() if a in name}
        weights = {names.get(name, name): value for name, value in weights.items()}
    plain = PlainModel(
        pipe.base.unet, weights, list(pipe.places), normed_queries=wrong["change"] == "normed queries"
    )
    image = None
    if wrong["photo"] is not None:
        maps = subject_of(pipe, wrong["photo"]).maps
        if wrong["change"] == "normed features":
            maps = {p: pipe.base.unet.get_submodule(p).norm(m[None].float())[0] for p, m in maps.items()}
        image = {place: value[None].float().expand(2, -1, -1, -1) for place, value in maps.items()}
    text, null = pipe.prompts(wrong["prompts"]), pipe.prompts([wrong["negative"]] * 2)
    alphas = pipe.base.scheduler.alphas_cumprod
    prediction = wrong["prediction"]
    if prediction == "other":
        prediction = "epsilon" if pipe.info.prediction_type == "v_prediction" else "v_prediction"
    x = noise(wrong["noise"])
    for step in range(STEPS):
        # 'leading' spacing, with an offset of 1 in Stable Diffusion
        t = (1000 // STEPS) * (STEPS - 1 - step) + wrong["offset"]
        e00, e11 = plain(x, t, None, null), plain(x, t, image, text)
        if guidance == "joint":
            e = e00 + wrong["text_scale"] * (e11 - e00)
        else:
            e10 = plain(x, t, image, null)
            e = e00 + wrong["image_scale"] * (e10 - e00) + wrong["text_scale"] * (e11 - e10)
        before = t - 1000 // STEPS
        x = ddim_step(x, e, alphas[t], alphas[before] if before >= 0 else alphas[0], prediction)
    return x


def noise(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_features(epsilon_pipe: DreamCachePipeline) -> None:
    """VAE posterior's mode, noised to t = 1 with seeded noise, null text, taken before the group norm."""
    from dreamcache import EncodeSettings
    from dreamcache.model.preprocess import packshot, to_tensor

    pipe = epsilon_pipe
    subject = pipe.encode_reference(
        photo(), settings=EncodeSettings(segmenter="none", dtype="float32", noise_seed=5)
    )
    pixels = to_tensor(packshot(photo(), None, size=128, margin=0.05))
    latent = pipe.base.vae.encode(pixels).latent_dist.mean * pipe.base.vae.config.scaling_factor
    a1 = pipe.base.scheduler.alphas_cumprod[1]
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(10))
    plain = PlainModel(pipe.base.unet, {}, list(pipe.places))
    wanted = plain.features(a1.sqrt() * latent + (1 - a1).sqrt() * noise, 1, pipe.prompts([""]))
    for place in pipe.places:
        assert (subject.maps[place] - wanted[place][0]).abs().max() < 1e-4


def test_noise_of_the_first_timestep_survives_bfloat16(epsilon_pipe: DreamCachePipeline) -> None:
    """alpha_bar at t = 1 is 0.998, which bfloat16 rounds to 1: added in bfloat16 no noise would be left."""
    from dreamcache import EncodeSettings

    info = epsilon_pipe.info
    pipe = DreamCachePipeline.from_pretrained(
        info.location, adapter=epsilon_pipe.adapter_info.location, dtype=torch.bfloat16
    )
    one, other = (
        pipe.encode_reference(photo(), settings=EncodeSettings(segmenter="none", noise_seed=seed))
        for seed in (0, 1)
    )
    exact = epsilon_pipe.encode_reference(photo(), settings=EncodeSettings(segmenter="none", noise_seed=0))
    for place in pipe.places:
        scale = exact.maps[place].abs().mean()
        assert (one.maps[place] - other.maps[place]).abs().mean() > 1e-3 * scale
        assert (one.maps[place].float() - exact.maps[place].float()).abs().mean() < 0.05 * scale


@lru_cache
def subject_of(pipe: DreamCachePipeline, number: int) -> SubjectFeatures:
    return pipe.encode_reference(photo(number))


@lru_cache
def latents_of(pipe: DreamCachePipeline, guidance: str) -> torch.Tensor:
    """The product's, which each wrong input of the formulas is compared with."""
    latents: torch.Tensor = pipe(
        PROMPTS,
        subject_of(pipe, 0),
        guidance=guidance,
        text_scale=TEXT_SCALE,
        image_scale=IMAGE_SCALE,
        num_inference_steps=STEPS,
        latents=noise(3),
        output_type="latent",
    ).images
    return latents


def distance(pipe: DreamCachePipeline, base_name: str, guidance: str, **changes: Any) -> float:
    """The largest difference of the product's latents from those by the formulas, as a part of the largest latent."""
    latents = latents_of(pipe, guidance)
    expected = plain_latents(pipe, base_name, guidance, **changes)
    return float((expected - latents).abs().max() / latents.abs().max())


@pytest.mark.parametrize(
    ("base_name", "guidance"),
    [
        ("epsilon", "joint"),
        ("v_prediction", "combined"),
        pytest.param("epsilon", "combined", marks=pytest.mark.slow),
        pytest.param("v_prediction", "joint", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_guided_sampling(request: pytest.FixtureRequest, base_name: str, guidance: str) -> None:
    pipe: DreamCachePipeline = request.getfixturevalue(f"{base_name}_pipe")
    assert distance(pipe, base_name, guidance) < TOLERANCE
    assert distance(pipe, base_name, guidance, prediction="other") > 100 * TOLERANCE


@pytest.mark.parametrize("wrong", WRONG)
@torch.no_grad()
def test_each_wrong_input_moves_the_result_far(epsilon_pipe: DreamCachePipeline, wrong: str) -> None:
    """So that the equality above says something. The image's scale has a meaning in combined guidance only."""
    assert distance(epsilon_pipe, "epsilon", "combined", **WRONG[wrong]) > 100 * TOLERANCE


@torch.no_grad()
def test_joint_guidance_has_no_image_scale(epsilon_pipe: DreamCachePipeline) -> None:
    assert distance(epsilon_pipe, "epsilon", "joint", image_scale=2.0) < TOLERANCE
    assert distance(epsilon_pipe, "epsilon", "joint", text_scale=3.0) > 100 * TOLERANCE
