"""FLUX.2 klein: images from cached keys and values are those of its own pipeline, and no wrong reference passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dreamcache.core.config import EncodeSettings, GenerationSettings
from dreamcache.core.config.job import JobSpec, ModelSpec
from dreamcache.core.errors import ImageError, ModelError, SpecError
from dreamcache.inference.facts import plan_facts
from dreamcache.inference.families import family_of
from dreamcache.inference.families.flux2_klein.describe import FAMILY, LATENTS
from dreamcache.inference.families.flux2_klein.keys_values import ReferenceKV
from dreamcache.inference.families.flux2_klein.pipeline import KleinPipeline
from dreamcache.model.features import SubjectFeatures
from tests.families.klein import SIDE, photo, save_klein

TOLERANCE = 1e-4
EXACT = EncodeSettings(size=1024, dtype="float32")
PROMPT = "a red mug on a long wooden table, morning light"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_klein(tmp_path_factory.mktemp("klein"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> KleinPipeline:
    base = FAMILY.describe_base(str(folder), None)
    return KleinPipeline(base, FAMILY.describe_adapter(None, base), dtype=torch.float32, device="cpu")


def ours(
    pipe: KleinPipeline, subject: SubjectFeatures, prompt: str = PROMPT, **settings: Any
) -> NDArray[np.float32]:
    values: dict[str, Any] = {"num_inference_steps": 4, "height": SIDE, "width": SIDE, **settings}
    generator = [torch.Generator().manual_seed(7)]
    return np.asarray(pipe([prompt], [subject], generator=generator, output_type="np", **values).images)


def theirs(pipe: KleinPipeline, image: Any, prompt: str = PROMPT, **settings: Any) -> NDArray[np.float32]:
    values = {"num_inference_steps": 4, "height": SIDE, "width": SIDE, **settings}
    generator = torch.Generator().manual_seed(7)
    return np.asarray(
        pipe.base(prompt=prompt, image=image, generator=generator, output_type="np", **values).images
    )


def distance(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    return float(np.abs(one - two).max())


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
@pytest.mark.parametrize("photo_size", [(64, 64), (100, 70), (66, 90)])
def test_the_images_are_those_of_the_models_own_pipeline(
    pipe: KleinPipeline, steps: int, size: tuple[int, int], photo_size: tuple[int, int]
) -> None:
    """The keys and values were computed for no prompt, noise or size at all."""
    picture = photo(1, photo_size)
    subject = pipe.encode_reference(picture, settings=EXACT)
    wanted = {"num_inference_steps": steps, "height": size[0], "width": size[1]}
    assert distance(ours(pipe, subject, **wanted), theirs(pipe, picture, **wanted)) < TOLERANCE


@pytest.mark.parametrize("wrong", ["photo", "turned grid", "not normalised", "half the tokens", "none"])
def test_a_wrong_reference_moves_pixels_a_hundred_times_further(pipe: KleinPipeline, wrong: str) -> None:
    picture = photo(1, (64, 96))
    subject = pipe.encode_reference(picture, settings=EXACT)
    right, latents = ours(pipe, subject), subject.maps[LATENTS]
    if wrong == "none":
        other = theirs(pipe, None)
    else:
        changed = {
            "photo": pipe.encode_reference(photo(2, (64, 96)), settings=EXACT).maps[LATENTS],
            "turned grid": latents.transpose(1, 2).contiguous(),
            "not normalised": latents * 1.4 + 0.3,
            "half the tokens": latents[:, ::2],
        }[wrong]
        other = ours(pipe, replace(subject, cache_key=wrong, maps={LATENTS: changed}))
    assert distance(right, other) > 100 * TOLERANCE


def test_rows_of_a_mixed_batch_are_those_of_solo_runs(pipe: KleinPipeline) -> None:
    """Grids differ, and numbers of tokens too."""
    pictures = [photo(1), photo(2, (128, 32 * 2)), photo(3, (64, 64)), photo(4, (96, 96))]
    subjects = [pipe.encode_reference(picture, settings=EXACT) for picture in pictures]
    prompts = ["short", "a much longer prompt about a mug on a table", "x", "y"]
    generators = [torch.Generator().manual_seed(7) for _ in prompts]
    settings: dict[str, Any] = {"num_inference_steps": 4, "height": SIDE, "width": SIDE, "output_type": "np"}
    batch = np.asarray(pipe(prompts, subjects, generator=generators, **settings).images)
    for row, (prompt, subject) in enumerate(zip(prompts, subjects, strict=True)):
        assert distance(batch[row], ours(pipe, subject, prompt)[0]) < 1e-5


def test_keys_and_values_are_computed_once_a_subject_and_again_after_they_were_dropped(
    pipe: KleinPipeline,
) -> None:
    subjects = [pipe.encode_reference(photo(seed), settings=EXACT) for seed in (11, 12)]
    before = pipe.keys_values.extractions
    wanted = [ours(pipe, subject, prompt) for prompt in ("a", "b", "c") for subject in subjects]
    assert pipe.keys_values.extractions == before + 2
    small = ReferenceKV(pipe.base, capacity_bytes=1)  # only the newest stays
    whole, pipe.keys_values = pipe.keys_values, small
    try:
        again = [ours(pipe, subject, prompt) for prompt in ("a", "b", "c") for subject in subjects]
    finally:
        pipe.keys_values = whole
    assert small.extractions == 6
    assert all(np.array_equal(one, two) for one, two in zip(wanted, again, strict=True))


def test_the_family_is_recognized_and_recommends_four_steps(folder: Path) -> None:
    assert family_of("dreamcache", str(folder)) is FAMILY
    assert family_of("dreamcache", "mini") is not FAMILY
    facts = plan_facts(job(folder))
    assert GenerationSettings().resolved(dict(facts.adapter.recommended)).steps == 4
    assert (facts.reference.segmenter, facts.reference.size, facts.reference.places) == (
        "none",
        SIDE,
        (LATENTS,),
    )


def job(folder: Path, **changes: Any) -> JobSpec:
    values: dict[str, Any] = {"name": "j", "catalog": "c.csv", "output": "o", "prompts": ("p",), **changes}
    return JobSpec(model=ModelSpec(base=str(folder)), **values)


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [
        (
            "generation",
            GenerationSettings(image_scale=1.0),
            "generation.image_scale: has no meaning for model '",
        ),
        ("generation", GenerationSettings(negative_prompt="ugly"), "distilled and runs without guidance"),
        ("generation", GenerationSettings(scheduler="euler"), "own flow-matching scheduler"),
        ("generation", GenerationSettings(height=24, width=26 + 6), ""),
        ("reference", EncodeSettings(timestep=300), "computed at timestep 0"),
        ("reference", EncodeSettings(text="a mug"), "encoded by the VAE alone"),
    ],
)
def test_a_setting_that_the_family_does_not_have_is_refused(
    folder: Path, group: str, value: Any, message: str
) -> None:
    if not message:
        plan_facts(job(folder, **{group: value}))
        return
    with pytest.raises(SpecError) as error:
        plan_facts(job(folder, **{group: value}))
    assert message in str(error.value)
    assert "leave the key out" in str(error.value)


def test_the_settings_that_a_run_keeps_are_accepted_again(folder: Path) -> None:
    facts = plan_facts(job(folder))
    kept = GenerationSettings().resolved(dict(facts.adapter.recommended))
    assert plan_facts(job(folder, generation=kept)) == facts


@pytest.mark.parametrize(("size", "code"), [((63, 100), "too_small"), ((64, 513), "bad_shape")])
def test_a_photo_that_the_model_cannot_read(pipe: KleinPipeline, size: tuple[int, int], code: str) -> None:
    with pytest.raises(ImageError) as error:
        pipe.encode_reference(photo(1, size))
    assert error.value.code == code


def test_a_prompt_that_would_be_cut(pipe: KleinPipeline) -> None:
    pipe.prompts.check("a mug")
    with pytest.raises(Exception, match="at most 512 tokens"):
        pipe.prompts.check("mug " * 200)


def test_an_undistilled_base_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "base")
    index = copy / "model_index.json"
    index.write_text(index.read_text().replace("Flux2KleinKVPipeline", "Flux2KleinPipeline"))
    with pytest.raises(ModelError, match="must be a distilled klein model"):
        FAMILY.describe_base(str(copy), None)
