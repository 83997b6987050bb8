"""Items of one batch with settings of their own have the pixels that they have alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.scenes import Overrides
from dreamcache.core.records import Failed, Request
from dreamcache.inference.families import family_of
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.model.features import SubjectFeatures
from tests.tiny import save_base, save_random_adapter

SETTINGS = GenerationSettings(num_inference_steps=2, text_scale=3.0, image_scale=2.0)
OVERRIDES = (
    Overrides(),
    Overrides(negative_prompt="people", strength=0.5),
    Overrides(text_scale=5.0),
    Overrides(height=48, width=80),
    Overrides(strength=0.0, seed=3),
    Overrides(height=48, width=80, image_scale=0.5),
)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    folder = tmp_path_factory.mktemp("tiny")
    base = save_base(folder / "base")
    return DreamCachePipeline.from_pretrained(
        str(base), adapter=str(save_random_adapter(folder / "adapter", base))
    )


@pytest.fixture(scope="module")
def subject(pipe: DreamCachePipeline) -> SubjectFeatures:
    return pipe.encode_reference(Image.new("RGB", (64, 64), "red"))


def request(number: int) -> Request:
    return Request(
        item_id=f"item-{number}", subject_id="s", class_name="mug", reference_id="r", cache_key="k", image="i",
        mask=None, prompt="a mug", sample=0, seed=5, overrides=OVERRIDES[number].text(),
    )  # fmt: skip


class Counting:
    """The real pipeline; calls: (batch, height, number of different strengths)."""

    def __init__(self, pipe: DreamCachePipeline) -> None:
        self.pipe, self.calls = pipe, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, *, prompt: list[str], **settings: Any) -> Any:
        self.calls.append((len(prompt), settings["height"], isinstance(settings["strength"], list)))
        return self.pipe(prompt=prompt, **settings)


def make(pipe: Any, subject: SubjectFeatures, settings: GenerationSettings = SETTINGS) -> Generator:
    per_image = family_of("dreamcache", "mini").per_image
    return Generator(pipe, settings, lambda _: subject, batch_size=4, per_image=per_image)


def test_items_with_their_own_settings_share_batches_of_one_size(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    counting = Counting(pipe)
    together = make(counting, subject).generate([request(number) for number in range(6)])
    assert counting.calls == [(4, None, True), (4, 48, False)]
    for number, outcome in enumerate(together):
        assert isinstance(outcome, Generated), outcome
        # The job of an item alone: its settings are the job's.
        own = OVERRIDES[number].generation(SETTINGS)
        [alone] = make(pipe, subject, own).generate([replace(request(number), overrides=None)])
        assert isinstance(alone, Generated)
        assert np.array_equal(outcome.rgb, alone.rgb), number
    shapes = [outcome.rgb.shape[:2] for outcome in together if isinstance(outcome, Generated)]
    assert shapes == [(128, 128)] * 3 + [(48, 80), (128, 128), (48, 80)]
    images = [outcome.rgb for outcome in together if isinstance(outcome, Generated)]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_a_negative_prompt_that_is_too_long_costs_its_item(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    text = Overrides(negative_prompt="mug " * 200).text()
    bad, good = make(pipe, subject).generate([replace(request(1), overrides=text), request(0)])
    assert isinstance(bad, Failed) and bad.code == "prompt_too_long", bad
    assert isinstance(good, Generated)
