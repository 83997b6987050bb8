"""What a user of diffusers expects of a pipeline: moving, saving, names, forms of input and output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from PIL import Image

from dreamcache import DreamCachePipeline, EncodeSettings, SubjectFeatures
from dreamcache.core.errors import ModelError
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import save_adapter
from dreamcache.model.places import default_places, place_shapes
from dreamcache.model.reference_unet import own_copy, own_weights, read_names
from dreamcache.storage.models.adapter import describe_adapter
from tests.end_to_end.photos import picture
from tests.families.models import open_method

STEPS: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def subject(epsilon_pipe: DreamCachePipeline) -> SubjectFeatures:
    return epsilon_pipe.encode_reference(picture(0))


def load(like: DreamCachePipeline, **options: Any) -> DreamCachePipeline:
    assert like.adapter_info is not None
    return DreamCachePipeline.from_pretrained(
        like.info.location, adapter=like.adapter_info.location, **options
    )


def same_maps(one: SubjectFeatures, other: SubjectFeatures) -> bool:
    return one.cache_key == other.cache_key and all(
        torch.equal(value, other.maps[place]) for place, value in one.maps.items()
    )


def test_moved_to_a_dtype_it_is_as_loaded_in_it(epsilon_pipe: DreamCachePipeline) -> None:
    moved, loaded = load(epsilon_pipe), load(epsilon_pipe, dtype=torch.bfloat16)
    first = moved.encode_reference(picture(0))
    moved("a mug", first, generator=generator(), **STEPS)  # fills the caches, which are of the old dtype
    assert moved.to(torch.bfloat16) is moved and moved.dtype == torch.bfloat16
    assert (
        moved.device == torch.device("cpu") and moved.to("cpu", dtype=torch.bfloat16).dtype == torch.bfloat16
    )
    subjects = [pipe.encode_reference(picture(0)) for pipe in (moved, loaded)]
    assert same_maps(*subjects) and subjects[0].cache_key != first.cache_key
    latents = [pipe("a mug", subjects[0], generator=generator(), **STEPS).images for pipe in (moved, loaded)]
    assert latents[0].dtype == torch.bfloat16 and torch.equal(*latents)


@pytest.mark.parametrize("has_reader", [pytest.param(False, marks=pytest.mark.slow), True])
def test_saved_and_loaded_again(epsilon_pipe: DreamCachePipeline, tmp_path: Path, has_reader: bool) -> None:
    base, info = epsilon_pipe.base, epsilon_pipe.info
    folder = str(tmp_path / "source")
    unet, reader = base.unet, None
    if has_reader:
        places = default_places(unet)
        reader = own_copy(unet, read_names(unet, places))
        own = own_weights(reader, places)
        for value in own.values():
            value.mul_(1.1)
    assert epsilon_pipe.adapter is not None
    save_adapter(
        epsilon_pipe.adapter,
        folder,
        base=info,
        step=5,
        training={"reference": {"timestep": 1}},
        reference_unet=own if has_reader else None,
        recommended={"text_scale": 3, "image_scale": 1.5},
    )
    pipe = DreamCachePipeline.from_pretrained(info.location, adapter=folder)
    assert (pipe.reader is not pipe.base.unet) == has_reader
    assert sorted(set(pipe.components) - set(pipe.base.components)) == (
        ["adapter", "reference_unet"] if has_reader else ["adapter"]
    )
    pipe.save_pretrained(tmp_path / "saved")
    again = DreamCachePipeline.from_pretrained(tmp_path / "saved")
    assert again.adapter_info is not None and pipe.adapter_info is not None
    for name in ("places", "step", "trained_reference", "recommended", "integration"):
        assert getattr(again.adapter_info, name) == getattr(pipe.adapter_info, name)
    images = []
    for one in (pipe, again):
        seen = one.encode_reference(picture(0))
        images.append(one("a mug", seen, generator=generator(), **STEPS).images)
    assert torch.equal(*images)
    with pytest.raises(
        ModelError, match="save_pretrained: must be a local folder, got 's3://b/x'; copy it there"
    ):
        pipe.save_pretrained("s3://b/x")


def test_saved_without_an_adapter_it_is_a_base(epsilon_pipe: DreamCachePipeline, tmp_path: Path) -> None:
    DreamCachePipeline(epsilon_pipe.base, epsilon_pipe.info, None).save_pretrained(tmp_path)
    assert not (tmp_path / "adapter").exists()
    with pytest.raises(ModelError, match=r"needs an adapter; set model\.adapter"):
        DreamCachePipeline.from_pretrained(tmp_path)


def test_both_names_of_a_scale(epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    ours = epsilon_pipe(
        "a mug", subject, text_scale=4.0, image_scale=2.0, generator=generator(), **STEPS
    ).images
    theirs = epsilon_pipe(
        "a mug", subject, guidance_scale=4.0, image_guidance_scale=2.0, generator=generator(), **STEPS
    ).images
    default = epsilon_pipe("a mug", subject, generator=generator(), **STEPS).images
    assert torch.equal(ours, theirs) and not torch.equal(ours, default)


def test_scales_that_are_not_set_are_the_recommended_ones(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures, tmp_path: Path
) -> None:
    assert epsilon_pipe.adapter is not None and epsilon_pipe.recommended == {}
    default = epsilon_pipe("a mug", subject, generator=generator(), **STEPS).images
    paper = epsilon_pipe(
        "a mug", subject, text_scale=7.5, image_scale=0.4, generator=generator(), **STEPS
    ).images
    assert torch.equal(default, paper)
    adapter = DreamCacheAdapter(place_shapes(epsilon_pipe.base.unet, epsilon_pipe.adapter.places))
    adapter.load_state_dict(epsilon_pipe.adapter.state_dict())
    save_adapter(
        adapter,
        str(tmp_path),
        base=epsilon_pipe.info,
        step=7,
        recommended={"text_scale": 2, "image_scale": 1.5},
    )
    known = describe_adapter(str(tmp_path), epsilon_pipe.info)
    pipe = DreamCachePipeline(epsilon_pipe.base, epsilon_pipe.info, adapter, known)
    ours = pipe("a mug", subject, generator=generator(), **STEPS).images
    theirs = pipe("a mug", subject, text_scale=2.0, image_scale=1.5, generator=generator(), **STEPS).images
    assert torch.equal(ours, theirs) and not torch.equal(ours, default)
    assert (
        pipe("a mug", subject, text_scale=7.5, image_scale=0.4, generator=generator(), **STEPS).images
        == default
    ).all()


def test_a_recommendation_is_checked_and_no_part_of_the_fingerprint(
    epsilon_pipe: DreamCachePipeline, tmp_path: Path
) -> None:
    assert epsilon_pipe.adapter is not None
    save_adapter(epsilon_pipe.adapter, str(tmp_path), base=epsilon_pipe.info, step=7)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    assert "recommended" not in config
    before = describe_adapter(str(tmp_path), epsilon_pipe.info)
    file.write_text(json.dumps({**config, "recommended": {"text_scale": 3}}))
    after = describe_adapter(str(tmp_path), epsilon_pipe.info)
    assert before.recommended == () and after.recommended == (("text_scale", 3.0),)
    assert before.fingerprint == after.fingerprint
    file.write_text(json.dumps({**config, "step": 8}))
    assert describe_adapter(str(tmp_path), epsilon_pipe.info).fingerprint != before.fingerprint
    for wrong in ({"sampler": 1}, {"text_scale": "much"}, {"image_scale": None}, [3.0]):
        file.write_text(json.dumps({**config, "recommended": wrong}))
        with pytest.raises(ModelError, match=r"config\.json lacks or misstates"):
            describe_adapter(str(tmp_path), epsilon_pipe.info)


def test_outputs(epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    def call(**options: Any) -> Any:
        return epsilon_pipe("a mug", subject, generator=generator(), num_inference_steps=2, **options)

    array = call(output_type="np").images
    tensor = call(output_type="pt").images
    assert tensor.shape == (1, 3, 128, 128) and np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), array)
    [image] = call().images
    assert np.array_equal(np.asarray(image), (array[0] * 255).round().astype(np.uint8))
    plain = call(output_type="np", return_dict=False)
    assert isinstance(plain, tuple) and len(plain) == 1 and np.array_equal(plain[0], array)
    out = call(output_type="np")
    assert np.array_equal(out["images"], array) and np.array_equal(out[0], array)


def test_prompt_embeddings_stand_for_prompts(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    seeds = [generator(seed) for seed in (1, 2)]
    texts = epsilon_pipe(
        ["a mug", "a dog"],
        subject,
        negative_prompt="blurry",
        generator=seeds,
        num_images_per_prompt=1,
        **STEPS,
    ).images
    positive, negative = epsilon_pipe.prompts(["a mug", "a dog"]), epsilon_pipe.prompts(["blurry"] * 2)
    embedded = epsilon_pipe(
        prompt_embeds=positive, negative_prompt_embeds=negative, subject=subject,
        generator=[generator(seed) for seed in (1, 2)], **STEPS,
    ).images  # fmt: skip
    assert torch.equal(texts, embedded)
    theirs, none = epsilon_pipe.base.encode_prompt("a mug", "cpu", 1, True, negative_prompt="")
    ours = epsilon_pipe(
        prompt_embeds=theirs, negative_prompt_embeds=none, generator=generator(), **STEPS
    ).images
    wanted = epsilon_pipe("a mug", negative_prompt=None, generator=generator(), **STEPS).images
    assert (ours - wanted).abs().max() < 1e-4
    twice = epsilon_pipe(
        prompt_embeds=positive, num_images_per_prompt=2, generator=generator(), **STEPS
    ).images
    assert twice.shape[0] == 4


def test_a_photo_in_any_form(epsilon_pipe: DreamCachePipeline, tmp_path: Path) -> None:
    image, mask = picture(0), np.zeros((48, 64), bool)
    mask[8:40, 8:40] = True
    pixels = np.asarray(image)
    image.save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    channels = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    settings = EncodeSettings(segmenter="file", on_no_mask="fail")
    forms: list[tuple[Any, Any]] = [
        (image, Image.fromarray(mask)),
        (str(tmp_path / "photo.png"), str(tmp_path / "mask.png")),
        (tmp_path / "photo.png", tmp_path / "mask.png"),
        (pixels, mask),
        (pixels.astype(np.float32) / 255, mask.astype(np.float64)),
        (pixels.astype(np.float16) / np.float16(255), mask.astype(np.uint8)),
        (channels, torch.from_numpy(mask)),
        (channels.float() / 255, torch.from_numpy(mask)[None].float()),
        (np.dstack([pixels, np.full((48, 64), 255, np.uint8)]), mask.astype(np.uint8) * 255),
    ]
    wanted, *others = (epsilon_pipe.encode_reference(one, cut, settings=settings) for one, cut in forms)
    whole = epsilon_pipe.encode_reference(image, settings=EncodeSettings(segmenter="none"))
    assert not same_maps(wanted, whole)
    assert [same_maps(wanted, one) for one in others] == [True] * len(others)


def test_a_scheduler_as_object(epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    scheduler = EulerDiscreteScheduler.from_config(epsilon_pipe.scheduler.config)
    named = epsilon_pipe("a mug", subject, scheduler="euler", generator=generator(), **STEPS).images
    for _ in range(2):  # the caller's object is not used up
        ours = epsilon_pipe("a mug", subject, scheduler=scheduler, generator=generator(), **STEPS).images
        assert torch.equal(ours, named)


def test_a_callback_can_end_the_call(epsilon_pipe: DreamCachePipeline) -> None:
    steps: list[int] = []

    def stop_after_two(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append(step)
        pipe._interrupt = step == 1
        assert tensors == {}
        return {}

    options: dict[str, Any] = {
        "callback_on_step_end": stop_after_two,
        "callback_on_step_end_tensor_inputs": [],
    }
    epsilon_pipe("a mug", num_inference_steps=4, output_type="latent", **options)
    assert steps == [0, 1]
    epsilon_pipe("a mug", num_inference_steps=4, output_type="latent", generator=generator())
    epsilon_pipe("a mug", num_inference_steps=1, output_type="latent", **options)
    assert steps == [0, 1, 0]


def test_a_bar_for_users_and_none_in_jobs(epsilon_pipe: DreamCachePipeline, capsys: Any) -> None:
    pipe = load(epsilon_pipe)
    pipe("a mug", num_inference_steps=3, scheduler="heun", output_type="latent")
    assert "5/5" in capsys.readouterr().err  # heun predicts twice a step, but for the last
    pipe.set_progress_bar_config(disable=True)
    pipe("a mug", **STEPS)
    assert epsilon_pipe.adapter_info is not None
    job = open_method("dreamcache", epsilon_pipe.info.location, adapter=epsilon_pipe.adapter_info.location)
    capsys.readouterr()
    job("a mug", **STEPS)
    assert capsys.readouterr().err == ""


def test_a_subject_is_shown_in_a_line(subject: SubjectFeatures) -> None:
    text = repr(subject)
    assert text.startswith(f"SubjectFeatures({subject.cache_key[:12]}, base ")
    assert text.endswith(", 5 places, 18.8 kB of int8)") and len(text) < 100, text
