"""The product's method against an independent rendering of the formulas (tests/model/plain.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.model.adapter_io import named_tensors
from tests.model.plain import PlainModel, ddim_step

STEPS = 4
PROMPTS = ["a mug on a beach", "a dog"]
TEXT_SCALE, IMAGE_SCALE = 7.5, 0.4


def photo() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    return Image.fromarray(values).resize((160, 160), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("base_name", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("guidance", ["joint", "combined"])
@torch.no_grad()
def test_guided_sampling(request: pytest.FixtureRequest, base_name: str, guidance: str) -> None:
    pipe: DreamCachePipeline = request.getfixturevalue(f"{base_name}_pipe")
    subject = pipe.encode_reference(photo())
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    got = pipe(
        PROMPTS,
        subject,
        guidance=guidance,
        text_scale=TEXT_SCALE,
        image_scale=IMAGE_SCALE,
        num_inference_steps=STEPS,
        latents=noise,
        output_type="latent",
    ).images

    plain = PlainModel(pipe.base.unet, named_tensors(pipe.adapter), list(pipe.places))
    image = {place: value[None].float().expand(2, -1, -1, -1) for place, value in subject.maps.items()}
    text, null = pipe.prompts(PROMPTS), pipe.prompts(["", ""])
    alphas = pipe.base.scheduler.alphas_cumprod
    x = noise
    for step in range(STEPS):
        t = (1000 // STEPS) * (
            STEPS - 1 - step
        ) + 1  # 'leading' spacing with an offset of 1, as in Stable Diffusion
        e00, e11 = plain(x, t, None, null), plain(x, t, image, text)
        if guidance == "joint":
            e = e00 + TEXT_SCALE * (e11 - e00)
        else:
            e10 = plain(x, t, image, null)
            e = e00 + IMAGE_SCALE * (e10 - e00) + TEXT_SCALE * (e11 - e10)
        before = t - 1000 // STEPS
        x = ddim_step(x, e, alphas[t], alphas[before] if before >= 0 else alphas[0], base_name)
    assert (got - x).abs().max() < 1e-4 * x.abs().max()


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
