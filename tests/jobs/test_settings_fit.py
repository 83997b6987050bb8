"""Settings that fail at every image end the plan: schedules, steps, negative prompts, models without a commit."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from transformers import CLIPTokenizer

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.model.sampler import SCHEDULERS, make_scheduler, sample
from dreamcache.storage.models import settings_fit
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.models.lookup import mini_folder
from jobs.planning.planner import plan

MakeSpec = Callable[..., JobSpec]
COMMIT = "01234567ab" * 4
SPACINGS = ("leading", "trailing", "linspace")
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def write_schedule(model: dict[str, str], **values: Any) -> None:
    """The base's schedule, and an adapter that was trained on it."""
    file = Path(model["base"], "scheduler", "scheduler_config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    config = Path(model["adapter"], "config.json")
    written = json.loads(config.read_text())
    written["base"]["fingerprint"] = describe_base(model["base"]).fingerprint
    config.write_text(json.dumps(written))


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_a_base_of_zero_snr_takes_the_schedulers_that_have_it(
    make_spec: MakeSpec, model: dict[str, str], scheduler: str
) -> None:
    """Case 24. Which schedulers have it, diffusers' own classes state."""
    takes = (
        "rescale_betas_zero_snr" in inspect.signature(getattr(diffusers, SCHEDULERS[scheduler][0])).parameters
    )
    assert takes == (scheduler not in settings_fit.WITHOUT_ZERO_SNR)
    write_schedule(model, **ZERO_SNR)
    spec = make_spec(generation={"scheduler": scheduler})
    if takes:
        assert plan(spec).num_items
        return
    with pytest.raises(SpecError, match=r"generation\.scheduler: must be able to begin with pure noise"):
        plan(spec)
    with pytest.raises(SpecError, match="rescale_betas_zero_snr"):
        make_scheduler(scheduler, ZERO_SNR)


UNDISTILLED = [name for name in SCHEDULERS if name not in ("lcm", "tcd")]
"""Those two have at most 50 steps (`test_schedulers`)."""
FRAGILE = [("dpmpp_2m", "leading", False), ("unipc", "trailing", False), ("euler_a", "trailing", True)]
"""Name, spacing and zero SNR of schedules that give NaN from 988 of 1000 steps on."""


@pytest.mark.parametrize(
    ("trained", "schedules"),
    [(1000, FRAGILE), (100, [(name, spacing, False) for name in UNDISTILLED for spacing in SPACINGS])],
)
def test_the_most_steps_give_numbers_with_every_scheduler(
    trained: int, schedules: list[tuple[str, str, bool]]
) -> None:
    """Case 25: 999 steps gave NaN with two of them."""
    base = json.loads((mini_folder() / "scheduler/scheduler_config.json").read_text())
    for name, spacing, zero_snr in schedules:
        config = {**base, "num_train_timesteps": trained, "timestep_spacing": spacing}
        config["rescale_betas_zero_snr"] = zero_snr
        most = int((settings_fit.MOST_STEPS_ZERO_SNR if zero_snr else settings_fit.MOST_STEPS) * trained)
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(1, 4, 2, 2, generator=generator)
        scheduler = make_scheduler(name, config)
        images = sample(
            lambda x, t: x * 0.1, scheduler, noise, num_inference_steps=most, generator=[generator]
        )
        assert torch.isfinite(images).all(), (name, spacing)
    with pytest.raises(SpecError, match=f"num_inference_steps: at most {most} with a base of {trained}"):
        sample(lambda x, t: x, make_scheduler(name, config), noise, num_inference_steps=most + 1)


@pytest.mark.parametrize("steps", [901, 999])
def test_more_steps_than_the_schedule_has_room_for_end_the_plan(make_spec: MakeSpec, steps: int) -> None:
    plan(make_spec(generation={"num_inference_steps": 900}))
    with pytest.raises(SpecError, match=rf"generation\.num_inference_steps: at most 900 .* got {steps}"):
        plan(make_spec(generation={"num_inference_steps": steps}))


@pytest.mark.parametrize("trained", ["many", None, 0, 10**9, [1000]])
def test_a_schedule_of_another_type_is_a_bad_model(
    make_spec: MakeSpec, model: dict[str, str], trained: object
) -> None:
    write_schedule(model, num_train_timesteps=trained)
    with pytest.raises(ModelError, match="num_train_timesteps"):
        plan(make_spec())


def test_a_negative_prompt_over_the_limit_ends_the_plan(make_spec: MakeSpec) -> None:
    """Case 29: every item failed by itself, before."""
    plan(make_spec(generation={"negative_prompt": "a" * 75}))
    with pytest.raises(
        SpecError, match=r"generation\.negative_prompt 'aaa.*at most 77 tokens .* got 78; shorten"
    ):
        plan(make_spec(generation={"negative_prompt": "a" * 76}))


@pytest.mark.parametrize(
    "text",
    ["", "blurry, bad, " * 30, "a MUG's  photo\n\t2026", "naïve café 咖啡杯 🍵", "<|endoftext|> don't!!"],
)
def test_tokens_are_counted_as_transformers_counts_them(text: str) -> None:
    info = describe_base("mini")
    theirs = CLIPTokenizer.from_pretrained(mini_folder() / "tokenizer")
    assert len(settings_fit._tokenizer(info).encode(text).ids) == len(theirs(text).input_ids)
    assert settings_fit.token_limit(info) == 77


@pytest.mark.parametrize("broken", [b"", b"{}", b"[1]", b'{"a": "b"}'])
def test_a_vocabulary_that_cannot_count_is_left_to_the_workers(
    make_spec: MakeSpec, model: dict[str, str], broken: bytes
) -> None:
    if broken in (b"", b"[1]"):
        Path(model["base"], "tokenizer", "vocab.json").write_bytes(broken)
        with pytest.raises(ModelError, match=r"vocab\.json"):
            plan(make_spec(generation={"negative_prompt": "blurry"}))
        return
    Path(model["base"], "tokenizer", "vocab.json").write_bytes(broken)
    write_schedule(model)
    assert plan(make_spec(generation={"negative_prompt": "blurry"})).num_items


@pytest.mark.parametrize(
    "name", ["owner/sam", "owner/sam@main", "owner/sam@1234567", "owner/sam@" + COMMIT.upper()]
)
def test_a_segmenter_of_the_hub_needs_a_commit(make_spec: MakeSpec, name: str) -> None:
    plan(
        make_spec(
            reference={"segmenter_models": {"sam": f"owner/sam@{COMMIT}", "lang-sam": "sam2.1_hiera_small"}}
        )
    )
    with pytest.raises(
        ModelError, match=r"reference\.segmenter_models: model .* needs a pinned revision.*@commit"
    ):
        plan(make_spec(reference={"segmenter_models": {"sam": name}}))


@pytest.mark.parametrize("name", ["owner/clip", "owner/clip@main", "owner/clip@12"])
def test_an_encoder_of_the_hub_needs_a_commit(make_spec: MakeSpec, name: str) -> None:
    def gated(clip: str) -> JobSpec:
        metrics = {"clip": clip, "dino": None, "segmenter": None}
        return make_spec(quality={"min_text": 0.2, "metrics": metrics})

    plan(gated(f"owner/clip@{COMMIT}"))
    with pytest.raises(ModelError, match=r"quality\.metrics: model .* needs a pinned revision"):
        plan(gated(name))
