"""The generator when a batch does not go well: who fails, what its neighbours get, what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core.config import GenerationSettings
from dreamcache.core.records import Request
from dreamcache.inference.generate import Drawn, Failed, Generator
from dreamcache.model.features import SubjectFeatures
from tests.tiny import save_base, save_random_adapter

SETTINGS = GenerationSettings(num_inference_steps=2, text_scale=3.0, image_scale=2.0)


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


def requests(count: int, marked: int | None = None) -> list[Request]:
    return [
        Request(
            item_id=f"item-{number}", subject_id="s", class_name="mug", reference_id="r", cache_key="k", image="i",
            mask=None, prompt="marked" if number == marked else "a mug", sample=0, seed=number,
        )
        for number in range(count)
    ]  # fmt: skip


class Faulty:
    """The real pipeline, but before each batch `fault(prompts)` may raise."""

    def __init__(self, pipe: DreamCachePipeline, fault: Callable[[list[str]], None]) -> None:
        self.pipe, self.fault, self.shapes = pipe, fault, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, *, prompt: list[str], **settings: Any) -> Any:
        self.shapes.append(len(prompt))
        self.fault(prompt)
        return self.pipe(prompt=prompt, **settings)


def make(pipe: Any, subject: SubjectFeatures, batch_size: int = 4) -> Generator:
    return Generator(pipe, SETTINGS, lambda request: subject, batch_size=batch_size)


def too_large(size: int) -> Callable[[list[str]], None]:
    def fault(prompts: list[str]) -> None:
        if len(prompts) > size:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return fault


def test_neighbours_of_an_item_that_raises_keep_their_pixels_bit_for_bit(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def fault(prompts: list[str]) -> None:
        if "marked" in prompts:
            raise RuntimeError("no")

    calm = make(pipe, subject).generate(requests(4))
    faulty = make(Faulty(pipe, fault), subject).generate(requests(4, marked=2))
    assert isinstance(faulty[2], Failed) and faulty[2].code == "generation_error"
    for ours, theirs in zip(faulty, calm, strict=True):
        if isinstance(ours, Drawn):
            assert np.array_equal(ours.rgb, theirs.rgb)
    assert sum(isinstance(outcome, Drawn) for outcome in faulty) == 3


def test_a_batch_too_large_for_memory_is_halved_and_stays_so(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    faulty = Faulty(pipe, too_large(2))
    generator = make(faulty, subject)
    assert all(isinstance(outcome, Drawn) for outcome in generator.generate(requests(4)))
    note = generator.take_note()
    assert note is not None and "batch_size to 2" in note
    faulty.shapes.clear()
    assert all(isinstance(outcome, Drawn) for outcome in generator.generate(requests(4)))
    assert faulty.shapes == [2, 2]
    assert generator.take_note() is None


def test_warming_up_finds_the_size_that_fits_before_the_first_item(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    faulty = Faulty(pipe, too_large(1))
    generator = make(faulty, subject)
    generator.warm_up(subject)
    assert generator.micro_batch == 1 and generator.take_note()


def test_warming_up_changes_no_pixel(pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    cold, warm = make(pipe, subject), make(pipe, subject)
    warm.warm_up(subject)
    assert warm.micro_batch == 4 and warm.take_note() is None
    for ours, theirs in zip(warm.generate(requests(3)), cold.generate(requests(3)), strict=True):
        assert np.array_equal(ours.rgb, theirs.rgb)


def test_one_item_that_takes_all_memory_is_at_fault_and_not_the_shape(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def fault(prompts: list[str]) -> None:
        if "marked" in prompts:
            raise MemoryError

    generator = make(Faulty(pipe, fault), subject)
    for batch in (requests(4, marked=1), requests(1, marked=0)):
        codes = [getattr(outcome, "code", None) for outcome in generator.generate(batch)]
        assert codes.count("out_of_memory") == 1 and codes.count(None) == len(batch) - 1
        assert generator.micro_batch == 4 and generator.take_note() is None
