"""The paper's stages on tiny models of the real classes: Llama writes captions, SDXL generates their images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from dreamcache.core.config.synthesize import CaptionSettings, PictureSettings
from dreamcache.core.errors import ModelError
from dreamcache.synthesis import captions, render
from dreamcache.synthesis.captions_llm import PROMPT, LlmCaptioner, parse_answer
from dreamcache.synthesis.models import describe_llm, describe_painter
from tests.synthesis.models import save_llama, save_sdxl

LINES = [
    {"object": "mug", "category": "kitchen", "caption": "a red mug on a shelf"},
    {"object": "kite", "category": "toys", "caption": "a kite over the sea"},
]
ANSWER = "\n".join([*map(json.dumps, LINES), "so"])


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_sdxl(tmp_path_factory.mktemp("sdxl")))


def test_defaults_are_the_papers() -> None:
    settings = PictureSettings(backend="sdxl")
    assert (settings.guidance_scale, settings.num_inference_steps) == (3.5, 25)
    assert settings.model_name == "stabilityai/stable-diffusion-xl-base-1.0"
    with pytest.raises(ModelError, match="pinned revision"):
        describe_painter(settings)
    with pytest.raises(ModelError, match=r"Llama.*pinned revision"):
        describe_llm(CaptionSettings(backend="llm"))


def test_sdxl_generates_with_guidance_and_steps_of_the_paper(sdxl: str) -> None:
    settings = PictureSettings(backend="sdxl", model=sdxl, batch_size=2)
    painter = render.create_painter(settings)
    prompts, seeds = ["a mug", "a cap"], [5, 6]
    steps: list[int] = []
    scheduler = painter.pipe.scheduler
    set_timesteps = scheduler.set_timesteps
    scheduler.set_timesteps = lambda count, **more: (steps.append(count), set_timesteps(count, **more))[1]
    ours = painter(prompts, seeds)
    assert steps == [25] and painter.pipe.guidance_scale == 3.5

    plain = StableDiffusionXLPipeline.from_pretrained(sdxl, add_watermarker=False)
    plain.set_progress_bar_config(disable=True)
    for prompt, seed, image in zip(prompts, seeds, ours, strict=True):
        wanted = plain(
            prompt,
            negative_prompt="",
            guidance_scale=3.5,
            num_inference_steps=25,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        assert np.abs(np.asarray(wanted, int) - np.asarray(image, int)).max() <= 1


def test_an_item_has_the_same_pixels_in_any_part(sdxl: str) -> None:
    settings = PictureSettings(backend="sdxl", model=sdxl, num_inference_steps=2, batch_size=3)
    rows = [
        {"caption_id": str(i), "caption": f"a mug {i}", "object": "mug", "category": "k", "source": "t"}
        for i in range(3)
    ]
    painter = render.create_painter(settings)

    def generated(kept: list[dict[str, str]]) -> dict[str, bytes]:
        (part,) = render.plan(kept, settings, seed=0, fingerprint="f")
        data = render.make_part(painter, part, settings)
        import pyarrow as pa
        import pyarrow.parquet as pq

        return {row["item_id"]: row["image"] for row in pq.read_table(pa.BufferReader(data)).to_pylist()}

    together = generated(rows)
    alone = generated(rows[1:2])
    assert len(set(together.values())) == 3
    assert all(together[item] == image for item, image in alone.items())


def test_a_lost_device_is_no_drawings_fault() -> None:
    """A part that holds nothing but errors would be committed, and its images never generated."""

    def lost(prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    kept = [{"caption_id": "1", "caption": "a mug", "object": "mug", "category": "k", "source": "t"}]
    settings = PictureSettings()
    (part,) = render.plan(kept, settings, seed=0, fingerprint="f")
    with pytest.raises(torch.AcceleratorError):
        render.make_part(lost, part, settings)


def test_llama_that_has_learned_json_lines_gives_captions(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "llama", ANSWER)
    settings = CaptionSettings(
        backend="llm", model=str(folder), max_new_tokens=200, temperature=0.05, per_request=2, count=4
    )
    captioner = LlmCaptioner(settings)
    captioner._prompt = lambda category: "go<a>"  # type: ignore[method-assign]
    made = captioner(0, 2, seed=0)
    assert list(made.captions) == LINES * 2 and made.num_bad == 2
    again = captioner(0, 2, seed=0)
    assert again == made


def test_llama_with_random_weights_gives_no_captions_and_no_error(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "llama")
    settings = CaptionSettings(backend="llm", model=str(folder), max_new_tokens=30, count=4, per_request=2)
    (part,) = captions.plan(settings, seed=1, fingerprint=describe_llm(settings).fingerprint)
    captioner = captions.create_captioner(settings)
    before = torch.random.get_rng_state()
    data = captions.make_part(captioner, part, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert data == captions.make_part(captioner, part, seed=1)
    asked = captioner._prompt("toys")  # type: ignore[attr-defined]
    assert asked.startswith("<s>You write captions") and asked.endswith("<a>")
    assert "Write 2 diverse" in asked and '"toys"' in asked and "{count}" not in asked


def test_the_written_prompt_shows_a_line_that_its_own_parser_takes() -> None:
    example = PROMPT.strip().splitlines()[-1]
    found, num_bad = parse_answer(f'```json\n{example},\n```\nHere you are!\n[1]\n{{"object": 3}}', "kitchen")
    assert [one["object"] for one in found] == ["teapot"] and num_bad == 3


def test_more_captions_asked_for_later_keep_the_parts_there_are() -> None:
    few = captions.plan(CaptionSettings(count=500), seed=0, fingerprint="")
    many = captions.plan(CaptionSettings(count=1000), seed=0, fingerprint="")
    assert [part.name for part in many[:2]] == [part.name for part in few]
    other = captions.plan(CaptionSettings(count=500), seed=1, fingerprint="")
    assert not {part.name for part in few} & {part.name for part in other}
    assert few[0].name != few[1].name
