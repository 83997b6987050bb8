"""DreamCachePipeline on tiny random models: plain generation untouched, mixed batches, savings, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from dreamcache import DreamCachePipeline, EncodeSettings, SubjectFeatures
from dreamcache.core.errors import ModelError
from dreamcache.model import denoiser
from dreamcache.model.integration.spatial_concat import SpatialConcat
from dreamcache.model.sampler import SCHEDULERS
from dreamcache.model.text import PromptError

PROMPTS = ["a mug", "a dog in the snow", "a lamp"]
# Measured: 2e-6 in latents of size 1. A batch of another shape runs through other kernels.
BATCH_TOLERANCE = 1e-4


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def colour(red: int, green: int, blue: int) -> Image.Image:
    return Image.new("RGB", (64, 48), (red, green, blue))


@pytest.fixture(scope="module")
def subjects(epsilon_pipe: DreamCachePipeline) -> list[SubjectFeatures]:
    return [
        epsilon_pipe.encode_reference(colour(250, 20, 20)),
        epsilon_pipe.encode_reference(colour(20, 40, 240)),
    ]


@pytest.mark.parametrize("base_name", ["epsilon", "v_prediction"])
def test_without_subject_equals_the_diffusers_pipeline(
    request: pytest.FixtureRequest, base_name: str
) -> None:
    pipe: DreamCachePipeline = request.getfixturevalue(f"{base_name}_pipe")
    options: dict[str, Any] = {
        "num_inference_steps": 5,
        "output_type": "np",
        "negative_prompt": ["blurry"] * 3,
    }
    ours = pipe(PROMPTS, generator=generators(1, 2, 3), text_scale=5.0, **options).images
    theirs = pipe.base(PROMPTS, generator=generators(1, 2, 3), guidance_scale=5.0, **options).images
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("size", [(8, 8), (24, 56), (8, 136)])
def test_any_multiple_of_a_latent_is_a_size(epsilon_pipe: DreamCachePipeline, size: tuple[int, int]) -> None:
    options: dict[str, Any] = {
        "num_inference_steps": 2,
        "output_type": "np",
        "height": size[0],
        "width": size[1],
    }
    ours = epsilon_pipe(["a mug"], generator=generators(1), text_scale=5.0, **options).images
    theirs = epsilon_pipe.base(["a mug"], generator=generators(1), guidance_scale=5.0, **options).images
    assert np.abs(ours - theirs).max() < 1e-4


def test_base_weights_stay_untouched(
    epsilon_pipe: DreamCachePipeline, subjects: list[SubjectFeatures]
) -> None:
    before = save({k: v.contiguous() for k, v in epsilon_pipe.base.unet.state_dict().items()})
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in epsilon_pipe.base.unet.modules())
    epsilon_pipe("a mug", subjects[0], num_inference_steps=2, output_type="latent")
    assert save({k: v.contiguous() for k, v in epsilon_pipe.base.unet.state_dict().items()}) == before
    assert hooks == sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in epsilon_pipe.base.unet.modules()
    )


@pytest.mark.parametrize(
    ("guidance", "scheduler"),
    [*(("combined", name) for name in sorted(SCHEDULERS)), ("joint", "ddim"), ("joint", "euler_a")],
)
def test_each_row_of_a_mixed_batch_equals_its_solo_run(
    epsilon_pipe: DreamCachePipeline, subjects: list[SubjectFeatures], guidance: str, scheduler: str
) -> None:
    """Subjects, none, strengths and scales differ by row; every scheduler, the stochastic one too. A scheduler sees
    neither guidance nor rows."""
    chosen = [subjects[0], None, subjects[1]]
    scales, text_scales, strengths = [0.3, 0.4, 2.0], [3.0, 7.5, 1.5], [1.0, 1.0, 0.5]
    options: dict[str, Any] = {
        "guidance": guidance,
        "scheduler": scheduler,
        "num_inference_steps": 3,
        "output_type": "latent",
        "height": 128,
        "width": 64,
    }
    together = epsilon_pipe(
        PROMPTS,
        chosen,
        image_scale=scales,
        text_scale=text_scales,
        strength=strengths,
        generator=generators(1, 2, 3),
        **options,
    ).images
    for row in range(3):
        alone = epsilon_pipe(
            PROMPTS[row],
            [chosen[row]],
            image_scale=scales[row],
            text_scale=text_scales[row],
            strength=strengths[row],
            generator=generators(row + 1),
            **options,
        ).images[0]
        assert (together[row] - alone).abs().max() < BATCH_TOLERANCE * together[row].abs().max()


def test_strength_zero_is_the_base_model(
    epsilon_pipe: DreamCachePipeline, subjects: list[SubjectFeatures]
) -> None:
    options: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent"}
    without = epsilon_pipe("a mug", generator=generators(1), **options).images
    zero = epsilon_pipe("a mug", subjects[0], strength=0.0, generator=generators(1), **options).images
    full = epsilon_pipe("a mug", subjects[0], generator=generators(1), **options).images
    assert (zero - without).abs().max() < BATCH_TOLERANCE * without.abs().max()
    assert (full - without).abs().max() > 0.01


def test_subject_is_projected_once_and_encoder_half_is_shared(
    epsilon_pipe: DreamCachePipeline, subjects: list[SubjectFeatures], monkeypatch: pytest.MonkeyPatch
) -> None:
    projected: list[int] = []
    rows: list[int] = []
    project, encode = SpatialConcat.project, denoiser.encoder_half
    monkeypatch.setattr(SpatialConcat, "project", lambda self, f: projected.append(1) or project(self, f))
    monkeypatch.setattr(
        denoiser, "encoder_half", lambda u, x, *more: rows.append(len(x)) or encode(u, x, *more)
    )
    pipe = copy.copy(epsilon_pipe)
    pipe.projections = type(epsilon_pipe.projections)(epsilon_pipe.adapter)
    for _ in range(2):
        pipe(
            ["a", "b", "c"],
            [subjects[0], subjects[1], subjects[0]],
            num_inference_steps=4,
            output_type="latent",
        )
    assert len(projected) == 2 * len(pipe.places)  # two subjects, whatever the steps, rows and calls
    assert (
        rows == [2 * 3] * 8
    )  # two texts for each of three rows, though combined guidance has three branches


def test_projection_cache_is_bounded(
    epsilon_pipe: DreamCachePipeline, subjects: list[SubjectFeatures]
) -> None:
    cache = type(epsilon_pipe.projections)(epsilon_pipe.adapter, max_bytes=1)
    for subject in [*subjects, subjects[0]]:
        assert set(cache.get(subject)) == set(epsilon_pipe.places)
        assert len(cache._recent) == 1


def test_callback_sees_and_changes_latents(epsilon_pipe: DreamCachePipeline) -> None:
    seen: list[int] = []

    def on_step(pipe: Any, index: int, t: Any, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(index)
        return {"latents": torch.zeros_like(given["latents"])}

    out = epsilon_pipe(
        "a mug", num_inference_steps=3, callback_on_step_end=on_step, output_type="latent"
    ).images
    assert seen == [0, 1, 2]
    assert not out.any()


def test_outputs_and_images_per_prompt(
    epsilon_pipe: DreamCachePipeline, subjects: list[SubjectFeatures]
) -> None:
    options: dict[str, Any] = {"num_inference_steps": 1, "num_images_per_prompt": 2}
    images = epsilon_pipe(["a", "b"], subjects, **options).images
    assert len(images) == 4
    assert images[0].size == (128, 128)
    array = epsilon_pipe(["a", "b"], subjects, output_type="np", height=64, width=192, **options).images
    assert array.shape == (4, 64, 192, 3)
    assert 0 <= array.min() <= array.max() <= 1


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_features_round_trip(epsilon_pipe: DreamCachePipeline, tmp_path: Any, dtype: Any) -> None:
    photo = Image.effect_noise((96, 64), 90).convert("RGB")
    subject = epsilon_pipe.encode_reference(photo, settings=EncodeSettings(dtype=dtype))
    subject.save(str(tmp_path / "a.parquet"))
    again = SubjectFeatures.load(str(tmp_path / "a.parquet"))
    assert again.cache_key == subject.cache_key
    assert all(torch.equal(again.maps[place], subject.maps[place]) for place in epsilon_pipe.places)


def test_clear_errors(epsilon_pipe: DreamCachePipeline, v_prediction_pipe: DreamCachePipeline) -> None:
    foreign = v_prediction_pipe.encode_reference(colour(1, 2, 3))
    with pytest.raises(ModelError, match="features come from base"):
        epsilon_pipe("a", foreign)
    with pytest.raises(ModelError, match="subject: must be one value, or one per prompt"):
        epsilon_pipe(["a", "b"], [None, None, None])
    with pytest.raises(PromptError, match="at most 77 tokens"):
        epsilon_pipe("word " * 40)
    with pytest.raises(ModelError, match="guidance: must be one of combined, joint, got 'both'"):
        epsilon_pipe("a", guidance="both")
    with pytest.raises(ModelError, match="was trained on base"):
        DreamCachePipeline.from_pretrained(
            epsilon_pipe.info.location, adapter=v_prediction_pipe.adapter_info.location
        )


def test_keys_and_values_belong_to_a_cache_key_and_not_to_a_photo(epsilon_pipe: DreamCachePipeline) -> None:
    """One photo under two margins: other features, so other images, in one pipeline and one after the other."""
    mask = Image.new("L", (64, 48))
    mask.paste(255, (8, 8, 40, 40))
    subjects = [
        epsilon_pipe.encoder(EncodeSettings(segmenter="file", margin=margin))
        .encode(colour(250, 20, 20), mask, reference_id="the photo")
        .features
        for margin in (0.05, 0.3)
    ]
    assert subjects[0].reference_id == subjects[1].reference_id
    options: dict[str, Any] = {"image_scale": 2.0, "num_inference_steps": 2, "output_type": "latent"}
    together = [epsilon_pipe("a mug", one, generator=generators(1), **options).images for one in subjects]
    for one, latents in zip(subjects, together, strict=True):
        fresh = DreamCachePipeline(epsilon_pipe.base, epsilon_pipe.info, epsilon_pipe.adapter)
        assert torch.equal(fresh("a mug", one, generator=generators(1), **options).images, latents)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_prompts_with_a_long_common_beginning(epsilon_pipe: DreamCachePipeline) -> None:
    beginning = "a mug on a table in the very same room of "
    prompts = [beginning + end for end in ("oak", "ash", "oak and ash")]
    together = epsilon_pipe.prompts(prompts)
    in_turn = [epsilon_pipe.prompts([prompt.replace("mug", "cup")])[0] for prompt in prompts]
    for prompt, embedding, later in zip(prompts, together, in_turn, strict=True):
        alone = type(epsilon_pipe.prompts)(epsilon_pipe.base.tokenizer, epsilon_pipe.base.text_encoder)
        assert torch.equal(alone([prompt])[0], embedding)
        assert torch.equal(alone([prompt.replace("mug", "cup")])[0], later)
    assert (together[0] - together[1]).abs().max() > 0.01 and (together[0] - together[2]).abs().max() > 0.01


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_features_are_stored_in_the_dtype_of_the_settings(
    epsilon_pipe: DreamCachePipeline, dtype: Any
) -> None:
    exact = epsilon_pipe.encode_reference(colour(9, 99, 9), settings=EncodeSettings(dtype="float32"))
    subject = epsilon_pipe.encode_reference(colour(9, 99, 9), settings=EncodeSettings(dtype=dtype))
    for place, value in subject.maps.items():
        assert value.dtype == getattr(torch, dtype)
        assert torch.equal(value, exact.maps[place].to(value.dtype))
