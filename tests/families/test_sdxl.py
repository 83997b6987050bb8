"""SDXL: without a reference its images are those of its own pipeline, and no wrong input passes as a right one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from safetensors.torch import load_file
from torch import Tensor

from dreamcache import DreamCachePipeline
from dreamcache.core.config import EncodeSettings
from dreamcache.inference.families.sd_sizes import feature_shapes
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import fill
from dreamcache.model.denoiser import Conditions, GuidedDenoiser
from dreamcache.model.places import place_shapes
from dreamcache.model.tap import tap_features
from tests.families.klein import photo
from tests.families.sdxl import (
    LONG,
    PROMPT,
    SCALE,
    SIDE,
    STEPS,
    TOLERANCE,
    Pixels,
    distance,
    ours,
    theirs,
)
from tests.model.plain import PlainModel


@pytest.fixture(scope="module")
def right(sdxl_pipe: DreamCachePipeline) -> Pixels:
    return ours(sdxl_pipe)


WRONG = [
    "prompt", "second prompt", "swapped encoders", "last layer", "no pooled text", "pooled of another prompt",
    "original size", "crop", "target size", "null text is that of an empty prompt", "timestep", "prediction type",
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_input_moves_pixels_a_hundred_times_further(
    sdxl_pipe: DreamCachePipeline, right: Pixels, wrong: str
) -> None:
    with wrong_input(sdxl_pipe, wrong) as settings:
        other = theirs(sdxl_pipe, **settings)
    assert distance(right, other) > 100 * TOLERANCE


@contextmanager
def wrong_input(sdxl_pipe: DreamCachePipeline, wrong: str) -> Iterator[dict[str, Any]]:
    """Arguments of the base's own pipeline with one fault; some need a changed base, which is put back."""
    base = sdxl_pipe.base
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    embedded = dict(zip(names, base.encode_prompt(PROMPT), strict=True))
    states, pooled = embedded["prompt_embeds"], embedded["pooled_prompt_embeds"]
    first = base.text_encoder.config.hidden_size
    given = {"prompt": None, **embedded}
    last = torch.cat([_last_layer(base, number) for number in ("", "_2")], dim=-1)
    arguments: dict[str, dict[str, Any]] = {
        "prompt": {"prompt": "a blue cup"},
        "second prompt": {"prompt_2": "a blue cup"},
        "swapped encoders": {**given, "prompt_embeds": states.roll(-first, dims=-1)},
        "last layer": {**given, "prompt_embeds": last},
        "no pooled text": {**given, "pooled_prompt_embeds": torch.zeros_like(pooled)},
        "pooled of another prompt": {**given, "pooled_prompt_embeds": base.encode_prompt("a blue cup")[2]},
        "original size": {"original_size": (SIDE // 2, SIDE)},
        "crop": {"crops_coords_top_left": (16, 0)},
        "target size": {"target_size": (SIDE, 2 * SIDE)},
        "null text is that of an empty prompt": {"negative_prompt": ""},
    }
    scheduler, embed = base.scheduler, base.unet.get_time_embed
    if wrong == "timestep":
        base.unet.get_time_embed = lambda sample, timestep: embed(sample=sample, timestep=timestep + 40)
    if wrong == "prediction type":
        other = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[scheduler.config.prediction_type]
        base.scheduler = EulerDiscreteScheduler.from_config(scheduler.config, prediction_type=other)
    try:
        yield arguments.get(wrong, {})
    finally:
        base.scheduler = scheduler
        base.unet.__dict__.pop("get_time_embed", None)


def _last_layer(base: Any, number: str) -> Tensor:
    tokenizer, model = getattr(base, f"tokenizer{number}"), getattr(base, f"text_encoder{number}")
    tokens = tokenizer(PROMPT, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        states: Tensor = model(tokens, output_hidden_states=True).hidden_states[-1]
    return states


@pytest.mark.parametrize("size", [(SIDE, SIDE), pytest.param((SIDE, SIDE + 16), marks=LONG)])
@pytest.mark.parametrize("subject", ["none", "strength 0"])
def test_without_a_reference_the_images_are_those_of_the_bases_own_pipeline(
    sdxl_pipe: DreamCachePipeline, subject: str, size: tuple[int, int]
) -> None:
    settings: dict[str, Any] = {"height": size[0], "width": size[1]}
    features = sdxl_pipe.encode_reference(photo(1)) if subject != "none" else None
    images = ours(sdxl_pipe, features, strength=0.0, image_scale=0.7, **settings)
    assert distance(images, theirs(sdxl_pipe, **settings)) < TOLERANCE
    if features is not None:
        assert distance(images, ours(sdxl_pipe, features, **settings)) > 100 * TOLERANCE, (
            "the reference shows"
        )


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_a_negative_prompt_is_as_in_the_bases_own_pipeline(sdxl_pipe: DreamCachePipeline) -> None:
    expected = theirs(sdxl_pipe, negative_prompt="ugly")
    assert distance(ours(sdxl_pipe, negative_prompt="ugly"), expected) < TOLERANCE
    assert distance(ours(sdxl_pipe), expected) > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_rows_of_a_mixed_batch_are_those_of_solo_runs(sdxl_pipe: DreamCachePipeline) -> None:
    subjects = [sdxl_pipe.encode_reference(photo(1)), None, sdxl_pipe.encode_reference(photo(2))]
    prompts, negatives = ["a mug", "", "a cup in the snow"], ["", "ugly", ""]
    generators = [torch.Generator().manual_seed(7) for _ in prompts]
    settings: dict[str, Any] = {"text_scale": SCALE, "image_scale": 2.0, "num_inference_steps": STEPS}
    batch = sdxl_pipe(
        prompts, subjects, negative_prompt=negatives, generator=generators, output_type="np", **settings
    )
    for row, (prompt, subject, negative) in enumerate(zip(prompts, subjects, negatives, strict=True)):
        alone = ours(sdxl_pipe, subject, prompt=prompt, negative_prompt=negative, image_scale=2.0)
        assert distance(batch.images[row], alone[0]) < TOLERANCE


class PlainXL(PlainModel):
    """The judge on SDXL: a place is a block, and every pass has pooled text and sizes beside its text."""

    def __init__(self, *args: Any, pooled: Tensor, sizes: Tensor) -> None:
        super().__init__(*args)
        self.more = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}

    def features(self, latent: Tensor, timestep: int, null_text: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        handles = [
            # Its first norm reads what enters the block: [B, tokens, C].
            self.unet.get_submodule(place).norm1.register_forward_pre_hook(
                lambda module, args, place=place: seen.__setitem__(place, args[0].transpose(1, 2))
            )
            for place in self.places
        ]
        self.unet(latent, timestep, null_text, **self.more)
        for handle in handles:
            handle.remove()
        return seen

    def predict(self, x: Tensor, t: Tensor, image: dict[str, Tensor] | None, text: Tensor) -> Tensor:
        blocks = {place: self.unet.get_submodule(place) for place in self.places}
        for place, block in blocks.items():
            if image is None:
                break
            block.forward = self._block(place, block, image[place])
        try:
            prediction: Tensor = self.unet(x, t, text, **self.more).sample
            return prediction
        finally:
            for block in blocks.values():
                block.__dict__.pop("forward", None)


def added_rows(sdxl_pipe: DreamCachePipeline, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """(size ids of a square image, what `pipe` adds for this pooled text)."""
    sizes = torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]], dtype=torch.float32)
    ids = sdxl_pipe.base.unet.add_time_proj(sizes.flatten()).reshape(1, -1)
    return sizes, torch.cat([pooled, ids], dim=-1)


@pytest.mark.parametrize("number", [pytest.param(0, marks=LONG), 1, pytest.param(2, marks=LONG), 3])
def test_one_place_is_the_formula_in_plain_pytorch(
    sdxl_pipe: DreamCachePipeline, sdxl_folder: Path, number: int
) -> None:
    """Each place of the adapter alone, against the judge that has no code of ours."""
    place, unet = sdxl_pipe.places[number], sdxl_pipe.base.unet
    tensors = {
        name: value.float()
        for name, value in load_file(sdxl_folder / "adapter" / "adapter.safetensors").items()
        if name.startswith(place + ".")
    }
    adapter = DreamCacheAdapter(place_shapes(unet, [place])).eval()
    fill(adapter, tensors, where="test")
    text, null, pooled, _ = sdxl_pipe.base.encode_prompt(PROMPT)
    sizes, added = added_rows(sdxl_pipe, pooled)
    plain = PlainXL(unet, tensors, [place], pooled=pooled, sizes=sizes)
    generator = torch.Generator().manual_seed(3)
    x, reference = (torch.randn(1, 4, 16, 16, generator=generator) for _ in range(2))
    step = torch.tensor([400])
    with torch.no_grad():
        image = plain.features(reference, 1, null)
        shape = feature_shapes(sdxl_pipe.info, EncodeSettings(size=SIDE, places=(place,)))[place]
        memory = adapter.project({place: image[place].reshape(1, *shape)})
        one = torch.ones(1)
        conditions = Conditions(
            mode="combined", text=text, null_text=null, added=added, null_added=added, subjects=[memory],
            text_scale=5 * one, image_scale=0.7 * one, strength=one,
        )  # fmt: skip
        ours = GuidedDenoiser(unet, adapter, conditions)(x, step)
        e00, e10, e11 = (
            plain.predict(x, step, features, words)
            for features, words in ((None, null), (image, null), (image, text))
        )
        expected = e00 + 0.7 * (e10 - e00) + 5 * (e11 - e10)
    assert float((e10 - e00).abs().max()) > 100 * TOLERANCE
    assert float((ours - expected).abs().max()) < TOLERANCE


def test_features_are_what_enters_the_named_block(sdxl_pipe: DreamCachePipeline) -> None:
    unet, places = sdxl_pipe.base.unet, [*sdxl_pipe.places, "up_blocks.0.attentions.1.transformer_blocks.7"]
    null, _, pooled, _ = sdxl_pipe.base.encode_prompt("")
    sizes, added = added_rows(sdxl_pipe, pooled)
    latent = torch.randn(2, 4, 16, 12, generator=torch.Generator().manual_seed(3))
    text = null.expand(2, -1, -1)
    with torch.no_grad():
        plain = PlainXL(unet, {}, places, pooled=pooled.expand(2, -1), sizes=sizes.expand(2, -1))
        expected = plain.features(latent, 1, text)
        tapped = tap_features(unet, latent, 1, text, places, added.expand(2, -1))
    assert set(tapped) == set(places)
    for place, (height, width) in zip(places, [(4, 3), (4, 3), (8, 6), (8, 6), (4, 3)], strict=True):
        assert tapped[place].shape[-2:] == (height, width)
        assert torch.allclose(tapped[place].flatten(2), expected[place], atol=1e-5)
    again = float((tapped[places[1]] - tapped[places[-1]]).abs().max())
    assert again > 100 * TOLERANCE, "blocks of one transformer read different features"
