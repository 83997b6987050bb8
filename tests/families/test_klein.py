"""FLUX.2 klein: images from cached keys and values are those of its own pipeline, and no wrong reference passes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dreamcache.core.config import EncodeSettings, GenerationSettings
from dreamcache.core.config.job import JobSpec, ModelSpec
from dreamcache.core.errors import CacheError, ImageError, ModelError, SpecError
from dreamcache.inference.facts import family_of_job, note_of, plan_facts
from dreamcache.inference.families import family_of
from dreamcache.inference.families.flux2_klein.describe import FAMILY, LATENTS
from dreamcache.inference.families.flux2_klein.keys_values import ReferenceKV
from dreamcache.inference.families.flux2_klein.pipeline import KleinPipeline
from dreamcache.model.features import Features, PhotoSet
from dreamcache.storage.feature_check import check
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
    pipe: KleinPipeline, subject: Features, prompt: str = PROMPT, **settings: Any
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
    """Grids differ, numbers of tokens too, and so do numbers of photos."""
    pictures = [photo(1), photo(2, (128, 32 * 2)), photo(3, (64, 64)), photo(4, (96, 96))]
    subjects: list[Features] = [pipe.encode_reference(picture, settings=EXACT) for picture in pictures]
    several = PhotoSet(photos=tuple(pipe.encode_reference(photo(seed), settings=EXACT) for seed in (5, 6, 7)))
    subjects += [several, PhotoSet(photos=several.photos[::-1])]
    prompts = ["short", "a much longer prompt about a mug on a table", "x", "y", "z", "z"]
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
    whole = pipe.keys_values
    for host, extractions, returned in ((0, 6, 0), (1 << 30, 2, 4)):
        # Only the newest stays on the device; the others are dropped, or wait in host memory.
        small = ReferenceKV(pipe.base, capacity_bytes=1, host_capacity_bytes=host)
        pipe.keys_values = small
        try:
            again = [ours(pipe, subject, prompt) for prompt in ("a", "b", "c") for subject in subjects]
        finally:
            pipe.keys_values = whole
        assert (small.extractions, small.returned) == (extractions, returned)
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
    copy = shutil.copytree(folder, tmp_path / "base")
    index = copy / "model_index.json"
    index.write_text(index.read_text().replace("Flux2KleinKVPipeline", "Flux2KleinPipeline"))
    with pytest.raises(ModelError, match="must be a distilled klein model"):
        FAMILY.describe_base(str(copy), None)


def copied(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "base")


@pytest.mark.parametrize(
    "name",
    ["tokenizer/chat_template.jinja", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"],
)
def test_what_decides_pixels_is_in_the_identity(folder: Path, tmp_path: Path, name: str) -> None:
    copy = copied(folder, tmp_path)
    file = copy / name
    before = FAMILY.describe_base(str(copy), None).fingerprint
    if name.endswith(".json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "x": 1}))
    else:
        file.write_text(file.read_text() + " ")
    assert FAMILY.describe_base(str(copy), None).fingerprint != before


@pytest.mark.parametrize(
    "name", ["README.md", "transformer/diffusion_pytorch_model.fp16.safetensors", "other/a.json"]
)
def test_what_is_not_loaded_is_not_in_the_identity(folder: Path, tmp_path: Path, name: str) -> None:
    copy = copied(folder, tmp_path)
    before = FAMILY.describe_base(str(copy), None).fingerprint
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"not loaded")
    assert FAMILY.describe_base(str(copy), None).fingerprint == before


DAMAGED = ("", "{", "[]", "{}", '{"block_out_channels": 3}', '{"sample_size": 1e99}', "\0", "[" * 9999)


def describe_all(folder: Path) -> None:
    """What a plan and an estimate read of a base."""
    facts, family = plan_facts(job(folder)), family_of_job(job(folder))
    family.feature_bytes(facts.base, facts.reference)
    settings = GenerationSettings()
    family.worker_bytes(facts.base, facts.adapter, settings, batch_size=2, dtype="float32", on_gpu=False)


@pytest.mark.parametrize("text", DAMAGED)
@pytest.mark.parametrize("name", ["model_index.json", "vae/config.json", "transformer/config.json"])
def test_a_damaged_base_ends_in_one_line(folder: Path, tmp_path: Path, name: str, text: str) -> None:
    """At the plan, estimates included."""
    copy = copied(folder, tmp_path)
    (copy / name).write_text(text)
    with pytest.raises(ModelError) as error:
        describe_all(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [0, 7, 100, 1000])
def test_weights_that_are_cut_off_end_in_one_line(folder: Path, tmp_path: Path, cut: int) -> None:
    copy = copied(folder, tmp_path)
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ModelError):
        FAMILY.describe_base(str(copy), None)


@pytest.mark.parametrize("shape", [(8, 16, 16), (16, 4097, 16), (16, 0, 16), (16, 256)])
def test_stored_latents_of_another_shape_are_refused(pipe: KleinPipeline, shape: tuple[int, ...]) -> None:
    """Whoever can write to a shared cache can seal any numbers."""
    subject = pipe.encode_reference(photo(1), settings=EXACT)
    expected = pipe.encoder(FAMILY.encoding(EXACT, pipe.info, pipe.adapter_info, "float32")).expected(
        subject.reference_id
    )
    check(subject.to_stored(), expected, "features")
    forged = replace(subject, maps={LATENTS: torch.zeros(shape)})
    with pytest.raises(CacheError, match="latents must be float32"):
        check(forged.to_stored(), expected, "features")
    assert expected.num_bytes is not None


@pytest.mark.parametrize(
    ("size", "picture"), [(72, (80, 64)), (72, (160, 66)), (72, (72, 72)), (64, (64, 512))]
)
def test_stored_latents_of_any_photo_are_accepted_again(
    pipe: KleinPipeline, size: int, picture: tuple[int, int]
) -> None:
    """Also where the size is no multiple of a token's: another photo of that area has more tokens than a square."""
    encoder = pipe.encoder(
        FAMILY.encoding(EncodeSettings(size=size, dtype="float32"), pipe.info, pipe.adapter_info, "float32")
    )
    features = encoder.encode(photo(1, picture)).features
    check(features.to_stored(), encoder.expected(features.reference_id), "features")
    assert features.maps[LATENTS].nbytes <= FAMILY.feature_bytes(pipe.info, encoder.settings)


def test_weights_that_were_not_trained_for_the_reuse_are_named(folder: Path, tmp_path: Path) -> None:
    copy = copied(folder, tmp_path)
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "Flux2KleinPipeline", "is_distilled": True})
    )
    spec = job(copy)
    assert "was not trained to reuse" in str(note_of(spec, plan_facts(spec)))
    assert note_of(job(folder), plan_facts(job(folder))) is None
