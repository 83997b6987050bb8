"""The generator when a batch does not go well: who fails, what its neighbours get, what is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from torch._dynamo.utils import counters
from transformers import CLIPConfig, CLIPImageProcessor

from dreamcache import DreamCachePipeline
from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.scenes import Overrides
from dreamcache.core.records import Blocked, Failed, Request
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
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


def tiny_checker() -> tuple[StableDiffusionSafetyChecker, CLIPImageProcessor]:
    """Random weights, and concepts that no image comes near."""
    torch.manual_seed(11)
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 8}, projection_dim=16)
    checker = StableDiffusionSafetyChecker(config).eval().requires_grad_(False)
    for name in ("concept_embeds", "special_care_embeds"):
        getattr(checker, name).data.zero_()
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return checker, extractor


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
        if isinstance(ours, Generated):
            assert np.array_equal(ours.rgb, theirs.rgb)
    assert sum(isinstance(outcome, Generated) for outcome in faulty) == 3


def test_a_batch_too_large_for_memory_is_halved_and_stays_so(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    faulty = Faulty(pipe, too_large(2))
    generator = make(faulty, subject)
    assert all(isinstance(outcome, Generated) for outcome in generator.generate(requests(4)))
    note = generator.take_note()
    assert note is not None and "batch_size to 2" in note
    assert set(faulty.shapes) == {4, 2}
    faulty.shapes.clear()
    assert all(isinstance(outcome, Generated) for outcome in generator.generate(requests(4)))
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


@pytest.mark.slow
def test_warming_up_compiles_all_that_a_batch_computes(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    """Whatever steps leave out, and in the size of each scene."""
    savings: dict[str, Any] = {"reuse_encoder": 2, "reuse_guidance": 3, "guidance_interval": (0.2, 0.8)}
    settings = replace(SETTINGS, num_inference_steps=7, **savings)
    wide = Overrides(height=64, width=128)
    generator = Generator(pipe, settings, lambda request: subject, batch_size=2)
    pipe.compile("default", backend="eager", fullgraph=True)
    counters.clear()
    try:
        generator.warm_up(subject, [wide, Overrides(text_scale=2.0)])
        graphs = counters["stats"]["unique_graphs"]
        first, second = requests(2)
        outcomes = generator.generate([first, replace(second, overrides=wide.text())])
    finally:
        pipe.compile("off")
    assert all(isinstance(outcome, Generated) for outcome in outcomes)
    assert counters["stats"]["unique_graphs"] == graphs > 2


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


class Retouched:
    """The real pipeline, whose images pass through `change(images)`, an array [B, H, W, 3]."""

    def __init__(self, pipe: DreamCachePipeline, change: Callable[[np.ndarray], None]) -> None:
        self.pipe, self.change = pipe, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, **settings: Any) -> Any:
        output = self.pipe(**settings)
        self.change(output.images.permute(0, 2, 3, 1).numpy())
        return output


def test_one_pixel_that_is_no_number_fails_its_item_alone(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def spoil(images: np.ndarray) -> None:
        images[1, 100, 7, 2] = np.nan

    calm = make(pipe, subject).generate(requests(3))
    outcomes = make(Retouched(pipe, spoil), subject).generate(requests(3))
    assert isinstance(outcomes[1], Failed) and outcomes[1].code == "nan_image"
    for number in (0, 2):
        ours, theirs = outcomes[number], calm[number]
        assert isinstance(ours, Generated) and isinstance(theirs, Generated)
        assert ours.item_id == f"item-{number}" and np.array_equal(ours.rgb, theirs.rgb)


def test_floats_become_the_nearest_bytes(pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    numbers = np.array([0.0, 0.4, 0.6, 1.4, 127.4, 127.6, 254.4, 254.6, 255.0], np.float32)

    def write(images: np.ndarray) -> None:
        images[:, 0, : len(numbers), :] = numbers[:, None] / 255

    [outcome] = make(Retouched(pipe, write), subject).generate(requests(1))
    assert isinstance(outcome, Generated) and outcome.rgb.dtype == np.uint8
    row = outcome.rgb[0, : len(numbers)]
    assert (row == np.array([0, 0, 1, 1, 127, 128, 254, 255, 255])[:, None]).all(), row


def test_the_safety_checker_withholds_the_image_it_flags(
    pipe: DreamCachePipeline, subject: SubjectFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checker of the real class, whose one concept is row 1's image."""
    calm = make(pipe, subject).generate(requests(3))
    checker, extractor = tiny_checker()
    monkeypatch.setattr(pipe.base, "safety_checker", checker)
    monkeypatch.setattr(pipe.base, "feature_extractor", extractor)
    pictures = [Image.fromarray(outcome.rgb) for outcome in calm if isinstance(outcome, Generated)]
    seen = checker.vision_model(extractor(pictures, return_tensors="pt").pixel_values)[1]
    seen = torch.nn.functional.normalize(checker.visual_projection(seen))
    checker.concept_embeds.data[0] = seen[1]
    others = (seen @ seen[1])[[0, 2]].max()
    checker.concept_embeds_weights.data[0] = (1 + others) / 2
    outcomes = make(pipe, subject).generate(requests(3))
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None, "safety_checker", None]
    assert isinstance(outcomes[1], Blocked) and outcomes[1].message.startswith("item item-1 of subject 's'")
    for number in (0, 2):
        ours, theirs = outcomes[number], calm[number]
        assert (
            isinstance(ours, Generated)
            and isinstance(theirs, Generated)
            and np.array_equal(ours.rgb, theirs.rgb)
        )


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_change_no_pixel_whatever_the_number_of_threads(
    pipe: DreamCachePipeline, subject: SubjectFeatures, threads: int
) -> None:
    """Batches of three, so that two threads cannot share them by whole images."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        [alone] = make(pipe, subject, 3).generate(requests(3)[1:2])
        for batch in (requests(3), requests(2)[::-1]):
            outcomes = make(pipe, subject, 3).generate(batch)
            [ours] = [outcome for outcome in outcomes if outcome.item_id == "item-1"]
            assert isinstance(ours, Generated) and isinstance(alone, Generated)
            assert np.array_equal(ours.rgb, alone.rgb)
    finally:
        torch.set_num_threads(before)
