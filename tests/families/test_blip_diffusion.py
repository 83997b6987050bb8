"""BLIP-Diffusion on a tiny model of the real classes: its parts against plain torch, its images against diffusers'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dreamcache.core.config import GenerationSettings, ImageLimits
from dreamcache.core.errors import ModelError
from dreamcache.core.records import Failed, Reference, Request
from dreamcache.inference.families.blip_diffusion.pipeline import BlipDiffusion, without_subject
from dreamcache.inference.families.photo import PhotoConditions
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.storage.models.base import describe_base
from tests.end_to_end.photos import picture
from tests.families.models import describe_adapter, open_method, save_blip
from tests.families.plain_qformer import context_text, queries
from tests.tiny import save_base

HEADS, LAYERS, PATCH = 4, 2, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("blip")
    return save_blip(place / "blip", str(save_base(place / "base")))


@pytest.fixture(scope="module")
def pipe(folder: str) -> BlipDiffusion:
    return open_method("blip-diffusion", folder)


def pixels_of(pipe: BlipDiffusion, image: Image.Image) -> torch.Tensor:
    made = pipe.base.image_processor.preprocess(
        image, image_mean=pipe.base.config.mean, image_std=pipe.base.config.std, return_tensors="pt"
    )
    return made["pixel_values"]


def test_the_photos_tokens_are_those_of_the_weights_with_plain_torch(
    folder: str, pipe: BlipDiffusion
) -> None:
    weights = load_file(Path(folder) / "qformer/model.safetensors")
    for number, name in ((0, "mug"), (1, "teapot")):
        seen = pipe.encode_reference(picture(number), class_name=name)
        words = pipe.base.qformer.tokenizer(name).input_ids
        [pixels] = pixels_of(pipe, picture(number))
        wanted = queries(weights, pixels, words, heads=HEADS, layers=LAYERS, patch=PATCH)
        assert torch.allclose(seen.tokens, wanted, atol=2e-4, rtol=1e-4)


def test_words_of_a_batch_are_padded_without_being_seen(pipe: BlipDiffusion) -> None:
    """The mask of the Q-Former's self-attention, which one subject alone does not need."""
    both = torch.cat([pixels_of(pipe, picture(number)) for number in range(2)])
    together = pipe.base.get_query_embeddings(both, ["mug", "teapot"])
    for number, name in enumerate(["mug", "teapot"]):
        alone = pipe.encode_reference(picture(number), class_name=name).tokens
        assert torch.allclose(together[number], alone, atol=2e-4, rtol=1e-4)


def test_the_text_is_read_from_left_to_right(folder: str, pipe: BlipDiffusion) -> None:
    weights = load_file(Path(folder) / "text_encoder/model.safetensors")
    seen = pipe.encode_reference(picture(), class_name="mug")
    text = pipe._text(["a mug on sand"], [seen])[0]
    room = pipe.prompts.limit
    written = ", ".join(["a mug on sand"] * 20)
    words = pipe.base.tokenizer(written, padding="max_length", truncation=True, max_length=room).input_ids
    sizes = {"at": 2, "heads": HEADS, "layers": LAYERS}
    assert torch.allclose(text, context_text(weights, words, seen.tokens, **sizes), atol=2e-4, rtol=1e-4)
    null = pipe.base.tokenizer("", padding="max_length", max_length=77).input_ids
    plain = context_text(weights, null, None, **sizes)
    assert torch.allclose(pipe._null_text("", 1)[0], plain, atol=2e-4, rtol=1e-4)


def test_images_are_those_of_diffusers_own_pipeline(pipe: BlipDiffusion) -> None:
    """A whole batch in one call of its own: its loop with the same noise, photos, classes and prompts."""
    photos, classes, prompts = [picture(0), picture(1)], ["mug", "teapot"], ["on sand", "in snow"]
    seeds = [7, 8]
    seen = [
        pipe.encode_reference(*pair[:1], class_name=pair[1]) for pair in zip(photos, classes, strict=True)
    ]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    ours = pipe(
        [f"a {name} {prompt}" for name, prompt in zip(classes, prompts, strict=True)],
        seen,
        generator=generators,
        text_scale=3.0,
        num_inference_steps=3,
        output_type="np",
    ).images
    theirs = pipe.base(
        prompts,
        photos,
        classes,
        classes,
        guidance_scale=3.0,
        num_inference_steps=3,
        height=128,
        width=128,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    ).images
    assert np.abs(ours[0] - ours[1]).max() > 0.1
    assert np.abs(ours - theirs).max() < 2 / 255


def requests(tmp_path: Path, prompt: str = "a mug on sand") -> list[Request]:
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        picture(number).save(path)
        made.append(
            Request(
                item_id=f"{number}", subject_id=f"s{number}", class_name="mug",
                reference_id=Reference.id_of(path.read_bytes(), None),
                cache_key="", image=str(path), mask=None, prompt=prompt, sample=0, seed=7,
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a"])
def test_each_item_has_its_own_photo_in_any_batch(
    pipe: BlipDiffusion, tmp_path: Path, scheduler: str
) -> None:
    settings = GenerationSettings(num_inference_steps=2, text_scale=3.0, scheduler=scheduler)
    conditions = PhotoConditions(pipe, ImageLimits())
    items = requests(tmp_path)
    generator = Generator(pipe, settings, conditions.get, batch_size=2)
    outcomes = generator.generate(items)
    assert all(isinstance(one, Generated) for one in outcomes), outcomes
    assert len({one.rgb.tobytes() for one in outcomes}) == len(
        items
    )  # same prompt and seed: the photo makes it
    [alone] = generator.generate(items[1:2])
    assert np.array_equal(alone.rgb, outcomes[1].rgb)


def test_a_prompt_that_leaves_the_photo_no_room_fails_alone(pipe: BlipDiffusion, tmp_path: Path) -> None:
    settings = GenerationSettings(num_inference_steps=1)
    items = [*requests(tmp_path)[:1], *requests(tmp_path, "x" * 66)[1:2]]
    generator = Generator(pipe, settings, PhotoConditions(pipe, ImageLimits()).get, batch_size=2)
    generated, failed = generator.generate(items)
    assert (
        isinstance(generated, Generated) and isinstance(failed, Failed) and failed.code == "prompt_too_long"
    )


def test_the_subject_is_named_once() -> None:
    remainders = {
        "a dog in snow": "in snow",
        "A Dog in snow": "in snow",
        "a photo of a dog": "a photo of a dog",
    }
    assert {prompt: without_subject(prompt, "dog") for prompt in remainders} == remainders
    assert without_subject("an apple on sand", "apple") == "on sand"
    assert without_subject("a dogsled", "dog") == "a dogsled"


def test_all_that_decides_pixels_is_in_the_fingerprint(folder: str, tmp_path: Path) -> None:
    info = describe_base(folder)
    fingerprint = describe_adapter("blip-diffusion", None, info).fingerprint
    assert fingerprint != describe_adapter("text-only", None, info).fingerprint
    config = Path(folder) / "qformer/config.json"
    before = config.read_text()
    try:
        config.write_text(json.dumps({**json.loads(before), "initializer_factor": 2.0}))
        assert describe_base(folder).fingerprint == info.fingerprint
        assert describe_adapter("blip-diffusion", None, info).fingerprint != fingerprint
    finally:
        config.write_text(before)
    plain = describe_base(str(save_base(tmp_path / "base")))
    with pytest.raises(ModelError, match="must be a BLIP-Diffusion folder, qformer, image_processor missing"):
        describe_adapter("blip-diffusion", None, plain)
    with pytest.raises(ModelError, match="takes no adapter"):
        describe_adapter("blip-diffusion", "/some/adapter", info)
