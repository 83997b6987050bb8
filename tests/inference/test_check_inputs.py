"""Arguments that cannot work: refused before any pass of a model, with name, rule, what came instead and remedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from PIL import Image

from dreamcache import DreamCachePipeline, SubjectFeatures
from dreamcache.core.errors import ImageError
from dreamcache.inference.rules import InputError
from dreamcache.model.text import PromptError
from tests.tiny import TEXT_WIDTH

NAN, FOUR = math.nan, torch.zeros(1, 4, 16, 16)

BAD_CALLS: list[tuple[dict[str, Any], str]] = [
    ({"guidance": "text"}, "guidance: must be one of combined, joint, got 'text'; 'combined' weighs"),
    ({"guidance": "join"}, "guidance: must be one of combined, joint, got 'join' (did you mean 'joint'?); "),
    (
        {"output_type": "pill"},
        "output_type: must be one of pil, np, pt, latent, got 'pill' (did you mean 'pil'?); ",
    ),
    ({"strength": 5}, "strength: must be a finite number from 0 to 1, got 5; use 1 for the full effect"),
    ({"strength": -0.1}, "strength: must be a finite number from 0 to 1, got -0.1; "),
    (
        {"strength": [0.5, NAN]},
        "strength: must be one value, or one per prompt (1) or per image (1), got 2 of them; ",
    ),
    ({"image_scale": NAN}, "image_scale: must be a finite number, got nan; give a number, or one per prompt"),
    ({"text_scale": math.inf}, "text_scale: must be a finite number, got inf; "),
    ({"text_scale": "7.5"}, "text_scale: must be a finite number, got '7.5'; "),
    ({"image_guidance_scale": [None]}, "image_scale: must be a finite number, got None; "),
    (
        {"text_scale": 3.0, "guidance_scale": 3.0},
        "guidance_scale: must be left out where text_scale is given (two names of one setting), got both; give one",
    ),
    (
        {"image_scale": 3.0, "image_guidance_scale": 2.0},
        "image_guidance_scale: must be left out where image_scale is given",
    ),
    ({"num_inference_steps": 0}, "num_inference_steps: must be a whole number from 1 to 999, got 0; e.g. 50"),
    ({"num_inference_steps": 2.5}, "num_inference_steps: must be a whole number from 1 to 999, got 2.5; "),
    ({"num_inference_steps": True}, "num_inference_steps: must be a whole number from 1 to 999, got True; "),
    ({"num_images_per_prompt": 0}, "num_images_per_prompt: must be a whole number, at least 1, got 0; "),
    (
        {"scheduler": "eulr"},
        "tcd, or a diffusers scheduler, got 'eulr' (did you mean 'euler'?); None takes the base",
    ),
    (
        {"scheduler": DDIMScheduler},
        "scheduler: must be one of ddim, dpmpp_2m, euler, euler_a, unipc, pndm, heun, lcm, tcd, or",
    ),
    (
        {"scheduler": FlowMatchEulerDiscreteScheduler()},
        "a diffusers scheduler of a Stable Diffusion, got a FlowMatchEulerDiscreteScheduler; e.g. DDIMScheduler.from",
    ),
    ({"height": 100}, "height: must be a positive multiple of 8 pixels, got 100; e.g. 128"),
    ({"width": 0}, "width: must be a positive multiple of 8 pixels, got 0; "),
    ({"width": 64.0}, "width: must be a positive multiple of 8 pixels, got 64.0; "),
    (
        {"latents": torch.zeros(2, 4, 16, 16)},
        "latents: must be a float tensor of shape (1, 4, h, w), one noise per image, got float32 of shape (2, 4, 16",
    ),
    (
        {"latents": torch.zeros(1, 3, 16, 16)},
        "got float32 of shape (1, 3, 16, 16); give one noise for each image",
    ),
    ({"latents": torch.zeros(4, 16, 16)}, "got float32 of shape (4, 16, 16); "),
    ({"latents": FOUR.int()}, "got int32 of shape (1, 4, 16, 16); "),
    (
        {"latents": FOUR / 0},
        "latents: must be finite numbers, got NaN or infinity; use unit noise, torch.randn(...)",
    ),
    (
        {"latents": FOUR, "height": 64},
        "latents: must be a float tensor of shape (1, 4, 8, 16), one noise per image",
    ),
    ({"latents": np.zeros((1, 4, 16, 16))}, "got a ndarray; use torch.randn(...), or generator="),
    (
        {"generator": 7},
        "generator: must be torch.Generators on the CPU, so that every device starts from the same",
    ),
    (
        {"generator": [torch.Generator()] * 3},
        "generator: must be one value, or one per prompt (1) or per image (1), ",
    ),
    (
        {"prompt": None},
        "prompt: must be given, or prompt_embeds in its place, got neither; give one of the two",
    ),
    ({"prompt": []}, "prompt: must be at least one text, got an empty list; give one prompt per image"),
    ({"prompt": 7}, "prompt: must be a text or a list of texts, got 7; write it as text"),
    ({"prompt": ["a", 7]}, "prompt: must be a text or a list of texts, got ['a', 7]; write it as text"),
    (
        {"prompt_embeds": torch.zeros(1, 77, TEXT_WIDTH)},
        "prompt: must be given, or prompt_embeds in its place, got b",
    ),
    (
        {"prompt": None, "prompt_embeds": torch.zeros(1, 77, 5)},
        f"prompt_embeds: must be embeddings of width {TEXT_WIDTH}, the base model's, got 5; embed the prompts with",
    ),
    (
        {"prompt": None, "prompt_embeds": torch.zeros(77, TEXT_WIDTH)},
        f"prompt_embeds: must be a float tensor [prompts, tokens, width], got shape (77, {TEXT_WIDTH}); take them",
    ),
    (
        {"prompt": None, "prompt_embeds": torch.zeros(1, 154, TEXT_WIDTH)},
        "negative_prompt_embeds: must be of as many tokens as the prompt has (154), got 77; embed both in the same",
    ),
    (
        {"prompt": None, "prompt_embeds": torch.full((1, 77, TEXT_WIDTH), NAN)},
        "prompt_embeds: must be finite numbers, got NaN or infinity; look at how",
    ),
    (
        {"negative_prompt": "blurry", "negative_prompt_embeds": torch.zeros(1, 77, TEXT_WIDTH)},
        "negative_prompt: must be given, or negative_prompt_embeds in its place, got both; give one of the two",
    ),
    (
        {"pooled_prompt_embeds": torch.zeros(1, 4)},
        "pooled_prompt_embeds: must be left out for a base that reads no pooled text, got a value; give the prompt",
    ),
    (
        {"negative_prompt": ["a", "b"]},
        "negative_prompt: must be one value, or one per prompt (1) or per image (1), g",
    ),
    ({"negative_prompt": 7}, "negative_prompt: must be a text or a list of texts, got 7; write it as text"),
    (
        {"subject": [None, None]},
        "subject: must be one value, or one per prompt (1) or per image (1), got 2 of them",
    ),
    (
        {"subject": Image.new("RGB", (8, 8))},
        "subject: must be SubjectFeatures, a PhotoSet of them, or None, got a Image; use pipe.encode_reference(photo)",
    ),
    (
        {"callback_on_step_end": "print"},
        "callback_on_step_end: must be a function (pipe, step, timestep, tensors) ->",
    ),
    (
        {"callback_on_step_end_tensor_inputs": ["prompt_embeds"]},
        "callback_on_step_end_tensor_inputs: must be a list of latents, got ['prompt_embeds']; text and reference are",
    ),
]


@pytest.fixture
def passes(epsilon_pipe: DreamCachePipeline, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that ran."""
    ran: list[str] = []
    for name in ("unet", "text_encoder", "vae"):
        model = getattr(epsilon_pipe.base, name)
        for method in ("forward", "encode", "decode"):
            if hasattr(model, method):
                monkeypatch.setattr(model, method, lambda *args, name=name, **kwargs: ran.append(name))
    monkeypatch.setattr(epsilon_pipe.base.unet.conv_in, "forward", lambda *args: ran.append("unet"))
    return ran


@pytest.mark.parametrize(("change", "text"), BAD_CALLS, ids=lambda value: str(value)[:40])
def test_a_bad_call_is_refused_before_any_pass(
    epsilon_pipe: DreamCachePipeline, passes: list[str], change: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError) as refused:
        epsilon_pipe(**{"prompt": "a mug", **change})
    message = str(refused.value)
    assert text in message, message
    assert isinstance(refused.value, ValueError) and refused.value.code == "bad_input"
    assert "\n" not in message and ": must be " in message and ", got " in message and "; " in message
    assert passes == []


def test_a_long_prompt_is_refused_before_any_pass(
    epsilon_pipe: DreamCachePipeline, passes: list[str]
) -> None:
    for change in ({"prompt": ["a mug", "word " * 40]}, {"negative_prompt": "word " * 40}):
        with pytest.raises(PromptError, match=r"at most 77 tokens with start and end, got .*; shorten it"):
            epsilon_pipe(**{"prompt": "a mug", **change})  # type: ignore[arg-type]
    assert passes == []


def test_subjects_that_do_not_belong_here(epsilon_pipe: DreamCachePipeline) -> None:
    subject = epsilon_pipe.encode_reference(Image.new("RGB", (16, 16), "red"))

    def changed(**changes: Any) -> SubjectFeatures:
        names = SubjectFeatures.__dataclass_fields__
        return SubjectFeatures(**{**{name: getattr(subject, name) for name in names}, **changes})

    first = epsilon_pipe.places[0]
    lacking = {place: value for place, value in subject.maps.items() if place != first}
    plain = DreamCachePipeline(epsilon_pipe.base, epsilon_pipe.info, None)
    cases: list[tuple[Any, SubjectFeatures, str]] = [
        (
            epsilon_pipe,
            changed(base_fingerprint="f" * 64),
            "features come from base ffffffffffff, the loaded base is",
        ),
        (
            epsilon_pipe,
            changed(maps=lacking),
            f"lack the adapter's places {first}; encode the reference again",
        ),
        (
            epsilon_pipe,
            changed(settings={"reader": "a" * 64}),
            "read by U-Net aaaaaaaaaaaa, this adapter's are by the",
        ),
        (plain, subject, "this pipeline has no adapter; load one with from_pretrained"),
    ]
    for pipe, one, text in cases:
        with pytest.raises(InputError, match=text):
            pipe("a mug", one)


PIXELS = np.zeros((32, 48, 3), np.uint8)

BAD_PICTURES: list[tuple[Any, Any, str]] = [
    (
        7,
        None,
        "image: must be a path, an s3:// URI, a PIL image, an array [H, W, 3] or a tensor [3, H, W], got a int",
    ),
    (
        PIXELS.transpose(2, 0, 1),
        None,
        "got an array of shape (3, 32, 48); give one photo with its 3 (RGB) or 4 (RGBA)",
    ),
    (torch.zeros(1, 3, 32, 48), None, "got a tensor of shape (1, 3, 32, 48); give one photo"),
    (PIXELS[:, :, 0], None, "got an array of shape (32, 48); "),
    (
        PIXELS.astype(np.int64),
        None,
        "image: must be uint8 from 0 to 255, or floats from 0 to 1, got int64; convert it",
    ),
    (PIXELS - 1.0, None, "got floats from -1 to -1; map them first, e.g. (x + 1) / 2 or x / 255"),
    (torch.full((3, 32, 48), NAN), None, "got floats from nan to nan; "),
    (
        PIXELS,
        PIXELS,
        "mask: must be a path, an s3:// URI, a PIL image, or an array or tensor [H, W], got an array of",
    ),
    (
        PIXELS,
        np.ones((48, 32), bool),
        "mask: must be of the photo's size, 48 x 32 pixels (width x height), got 32 x 48",
    ),
]


@pytest.mark.parametrize(("image", "mask", "text"), BAD_PICTURES, ids=lambda value: str(type(value).__name__))
def test_a_bad_picture_is_refused(
    epsilon_pipe: DreamCachePipeline, passes: list[str], image: Any, mask: Any, text: str
) -> None:
    with pytest.raises(InputError) as refused:
        epsilon_pipe.encode_reference(image, mask)
    assert text in str(refused.value), str(refused.value)
    assert passes == []


def test_a_file_that_is_no_photo_is_an_image_error(epsilon_pipe: DreamCachePipeline, tmp_path: Any) -> None:
    with pytest.raises(
        ImageError, match=r"image '.*gone.png': must be an existing file, got none; check the path"
    ):
        epsilon_pipe.encode_reference(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no photo")
    with pytest.raises(ImageError, match="not an allowed format"):
        epsilon_pipe.encode_reference(str(tmp_path / "text.png"))


BAD_PLACEMENTS: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda pipe: pipe.to("gpu"),
        "device: must be a device of torch, e.g. 'cpu' or 'cuda:0', got 'gpu'; use the name",
    ),
    (lambda pipe: pipe.to("cuda:99"), "got 'cuda:99' where torch finds"),
    (lambda pipe: pipe.to(torch.int8), "dtype: must be a floating dtype of torch, got torch.int8; e.g."),
    (lambda pipe: pipe.to("cpu", device="cpu"), "device: must be given once, got cpu and cpu; give one"),
    (
        lambda pipe: pipe.to("cpu", speed=9),
        "to: must be given device and dtype alone, got speed; leave it out",
    ),
    (lambda pipe: pipe.from_pretrained("mini", device="gpu"), "device: must be a device of torch"),
]


@pytest.mark.parametrize(("move", "text"), BAD_PLACEMENTS)
def test_a_bad_device_is_refused(
    epsilon_pipe: DreamCachePipeline, move: Callable[[Any], Any], text: str
) -> None:
    with pytest.raises(InputError) as refused:
        move(epsilon_pipe)
    assert text in str(refused.value), str(refused.value)
