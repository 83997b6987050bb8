"""A batch of the generator is the pipeline's own call with the settings of the job and the seed of each item."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core.config import GenerationSettings
from dreamcache.core.records import Request
from dreamcache.inference.generate import Generator

STEPS = 3  # more than warming up takes
SETTINGS = GenerationSettings(
    num_inference_steps=STEPS, text_scale=3.0, image_scale=2.0, negative_prompt="a blurred photo"
)
REQUEST = Request(
    item_id="", subject_id="s", class_name="mug", reference_id="r", cache_key="k", image="i", mask=None,
    prompt="a mug", sample=0, seed=0,
)  # fmt: skip


class Recording:
    """The real pipeline, and the size of every batch it was asked for."""

    def __init__(self, pipe: DreamCachePipeline) -> None:
        self.pipe, self.sizes = pipe, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, *, prompt: list[str], **settings: Any) -> Any:
        self.sizes.append(len(prompt))
        return self.pipe(prompt=prompt, **settings)


def test_every_item_has_its_own_seed_and_the_jobs_settings(epsilon_pipe: DreamCachePipeline) -> None:
    subject = epsilon_pipe.encode_reference(Image.new("RGB", (64, 64), "red"))
    requests = [replace(REQUEST, item_id=f"item-{seed}", seed=seed) for seed in (5, 6, 7)]
    recording = Recording(epsilon_pipe)
    generator = Generator(recording, SETTINGS, lambda request: subject, batch_size=3)  # type: ignore[arg-type]
    outcomes = generator.generate(requests)
    expected = epsilon_pipe(
        ["a mug"] * 3,
        [subject] * 3,
        negative_prompt="a blurred photo",
        num_inference_steps=STEPS,
        text_scale=3.0,
        image_scale=2.0,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6, 7)],
        output_type="np",
    ).images
    for outcome, image in zip(outcomes, expected, strict=True):
        assert np.array_equal(outcome.rgb, np.rint(image * 255).astype(np.uint8))  # type: ignore[union-attr]
    assert len({outcome.rgb.tobytes() for outcome in outcomes}) == 3  # type: ignore[union-attr]


def test_every_batch_has_the_same_shape(epsilon_pipe: DreamCachePipeline) -> None:
    subject = epsilon_pipe.encode_reference(Image.new("RGB", (64, 64), "red"))
    recording = Recording(epsilon_pipe)
    generator = Generator(recording, SETTINGS, lambda request: subject, batch_size=2)  # type: ignore[arg-type]
    generator.generate([replace(REQUEST, item_id=f"item-{seed}", seed=seed) for seed in range(3)])
    assert recording.sizes == [2, 2]
