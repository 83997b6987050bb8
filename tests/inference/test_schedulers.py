"""Every scheduler against diffusers' own Stable Diffusion pipeline: where no reference is read, the same numbers."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import diffusers
import pytest
import torch
from diffusers import StableDiffusionPipeline

from dreamcache import DreamCachePipeline, SubjectFeatures
from dreamcache.model.sampler import SCHEDULERS, make_scheduler
from tests.end_to_end.photos import picture
from tests.tiny import save_base, save_random_adapter

PROMPTS = ["a mug", "a dog in the snow"]
OPTIONS: dict[str, Any] = {
    "num_inference_steps": 4, "output_type": "latent", "negative_prompt": ["blurry"] * 2, "height": 128, "width": 64,
}  # fmt: skip
"""Latents: what comes after the last step knows no scheduler. Half a square: at 64 x 64 the middle block has one pixel,
whose group norm blows rounding up."""
CLASSES = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "tcd": "TCDScheduler",
}
SET: dict[str, dict[str, Any]] = {"pndm": {"skip_prk_steps": True}, "ddim": {"clip_sample": False}}
SAME_KERNELS = 0.0
THREE_BRANCHES = 1e-4
"""Of the largest latent. A subject of strength 0 has three rows for a sample where diffusers has two: other kernels,
other last bits."""


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (1, 2)]


@lru_cache
def of_diffusers(
    pipe: DreamCachePipeline, name: str, *, guidance_scale: float = 5.0, **changes: Any
) -> torch.Tensor:
    """The latents of diffusers' pipeline with its scheduler of that name."""
    config = {**pipe.base.scheduler.config, **changes}
    config.pop("_use_default_values", None)
    scheduler = getattr(diffusers, CLASSES[name]).from_config(config, **SET.get(name, {}))
    theirs = StableDiffusionPipeline(
        **{**pipe.base.components, "scheduler": scheduler}, requires_safety_checker=False
    )
    theirs.set_progress_bar_config(disable=True)
    # The pipeline's own default is 0, which of TCD is not the scheduler's.
    own = {"eta": 0.3} if name == "tcd" else {}
    latents: torch.Tensor = theirs(
        PROMPTS, generator=generators(), guidance_scale=guidance_scale, **OPTIONS, **own
    ).images
    return latents


def difference(latents: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest one, as a part of the largest latent."""
    return float((latents - wanted).abs().max() / wanted.abs().max())


@pytest.fixture(scope="module")
def subject(epsilon_pipe: DreamCachePipeline) -> SubjectFeatures:
    return epsilon_pipe.encode_reference(picture(0))


def test_these_are_all_schedulers() -> None:
    assert set(SCHEDULERS) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_config_that_names_neither_offset_nor_last_alpha(name: str) -> None:
    """Of a scheduler class without these settings: Stable Diffusion means an offset of 1, and no alpha of one."""
    config = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
    }
    scheduler: Any = make_scheduler(name, config)
    assert scheduler.config.steps_offset == 1
    assert scheduler.config.get("set_alpha_to_one", False) is False
    assert dict(make_scheduler(name, {**config, "steps_offset": 0}).config)["steps_offset"] == 0


@pytest.mark.parametrize("name", sorted(CLASSES))
@pytest.mark.parametrize("base_name", ["epsilon", "v_prediction"])
def test_plain_images_are_those_of_diffusers(
    request: pytest.FixtureRequest, base_name: str, name: str
) -> None:
    pipe: DreamCachePipeline = request.getfixturevalue(f"{base_name}_pipe")
    plain = pipe(PROMPTS, scheduler=name, text_scale=5.0, generator=generators(), **OPTIONS).images
    assert difference(plain, of_diffusers(pipe, name)) <= SAME_KERNELS


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_subject_of_strength_0_changes_nothing(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures, name: str
) -> None:
    pipe = epsilon_pipe
    wanted = of_diffusers(pipe, name)
    for strength, changes in ((0.0, False), (1.0, True)):
        sampling: dict[str, Any] = {"scheduler": name, "text_scale": 5.0, "strength": strength}
        images = pipe(PROMPTS, subject, generator=generators(), **sampling, **OPTIONS).images
        distance = difference(images, wanted)
        assert distance > 100 * THREE_BRANCHES if changes else distance <= THREE_BRANCHES


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_without_guidance_one_branch_runs(
    epsilon_pipe: DreamCachePipeline, subject: SubjectFeatures, name: str
) -> None:
    """What a distilled base is sampled with: diffusers' guidance_scale 1."""
    pipe, passes = epsilon_pipe, []
    handle = pipe.base.unet.conv_out.register_forward_hook(lambda *args: passes.append(len(args[2])))
    off: dict[str, Any] = {"scheduler": name, "guidance_interval": (0.0, 0.0)}
    images = pipe(PROMPTS, generator=generators(), **off, **OPTIONS).images
    assert passes == [len(PROMPTS)] * 4
    handle.remove()
    wanted = of_diffusers(pipe, name, guidance_scale=1.0)
    assert difference(images, wanted) <= THREE_BRANCHES
    with_subject = pipe(PROMPTS, subject, generator=generators(), **off, **OPTIONS).images
    assert difference(with_subject, wanted) > 100 * THREE_BRANCHES


@pytest.fixture(scope="module")
def old_pipe(tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    """Of a folder whose scheduler names no `steps_offset`."""
    folder = tmp_path_factory.mktemp("old")
    base = save_base(folder / "base")
    file = base / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    del config["steps_offset"]
    file.write_text(json.dumps(config))
    adapter = save_random_adapter(folder / "adapter", base)
    pipe = DreamCachePipeline.from_pretrained(str(base), adapter=str(adapter))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_old_folder_that_names_no_steps_offset(old_pipe: DreamCachePipeline, name: str) -> None:
    """Stable Diffusion means an offset of 1 also where its folder is silent."""
    wanted = of_diffusers(old_pipe, name, steps_offset=1)
    plain = old_pipe(PROMPTS, scheduler=name, text_scale=5.0, generator=generators(), **OPTIONS).images
    assert difference(plain, wanted) <= SAME_KERNELS
