"""Qwen-Image 2.1: images from cached photos are those of its own pipeline, and no wrong reference passes."""

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
from PIL import Image

from dreamcache.core.config import EncodeSettings, GenerationSettings
from dreamcache.core.config.job import JobSpec, ModelSpec
from dreamcache.core.errors import CacheError, ImageError, ModelError, SpecError
from dreamcache.inference.facts import family_of_job, plan_facts
from dreamcache.inference.families import family_of
from dreamcache.inference.families.qwen_image.describe import FAMILY, LATENTS, PICTURE
from dreamcache.inference.families.qwen_image.pipeline import QwenImagePipeline
from dreamcache.inference.families.qwen_image.prefix import Prefixes
from dreamcache.inference.families.qwen_image.reader import open_reader
from dreamcache.model.features import Features, PhotoSet, SubjectFeatures
from dreamcache.model.text import PromptError
from dreamcache.storage.feature_check import check
from tests.families.klein import photo
from tests.families.qwen import SIDE, save_qwen

TOLERANCE = 1e-4
EXACT = EncodeSettings(size=SIDE, dtype="float32")
PROMPT = "a red mug on a long wooden table in the morning light"
SIZES = ((64, 64), (96, 48), (70, 110))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> QwenImagePipeline:
    base = FAMILY.describe_base(str(folder), None)
    return QwenImagePipeline(base, FAMILY.describe_adapter(None, base), dtype=torch.float32, device="cpu")


def pictures(count: int) -> list[Image.Image]:
    return [photo(number, size) for number, size in enumerate(SIZES[:count], start=1)]


def encoded(pipe: QwenImagePipeline, *photos: Image.Image) -> PhotoSet:
    return PhotoSet(photos=tuple(pipe.encode_reference(one, settings=EXACT) for one in photos))


def ours(
    pipe: QwenImagePipeline, subject: Features, prompt: str = PROMPT, **settings: Any
) -> NDArray[np.float32]:
    values: dict[str, Any] = {"num_inference_steps": 4, "height": SIDE, "width": SIDE, **settings}
    generator = [torch.Generator().manual_seed(7)]
    return np.asarray(pipe([prompt], [subject], generator=generator, output_type="np", **values).images)


def theirs(
    pipe: QwenImagePipeline, images: list[Image.Image] | None, prompt: str = PROMPT, **settings: Any
) -> NDArray[np.float32]:
    values = {"num_inference_steps": 4, "height": SIDE, "width": SIDE, "output_resolution": SIDE, **settings}
    generator = torch.Generator().manual_seed(7)
    output = pipe.base(prompt=prompt, image=images, generator=generator, output_type="np", **values).images
    color, alpha = np.asarray(output)[..., :3], np.asarray(output)[..., 3:]
    return np.asarray(color * alpha + 1 - alpha)


def distance(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    return float(np.abs(one - two).max())


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
@pytest.mark.parametrize("count", [1, 3])
def test_the_images_are_those_of_the_models_own_pipeline(
    pipe: QwenImagePipeline, steps: int, size: tuple[int, int], count: int
) -> None:
    """The photos were read for another prompt, noise and size before, and their prefix serves this one."""
    photos = pictures(count)
    subject = encoded(pipe, *photos)
    ours(pipe, subject, "mug")
    passes = pipe.prefixes.vision_passes
    wanted = {"num_inference_steps": steps, "height": size[0], "width": size[1]}
    assert distance(ours(pipe, subject, **wanted), theirs(pipe, photos, **wanted)) < TOLERANCE
    assert pipe.prefixes.vision_passes == passes


def test_a_transparent_photo_is_white_to_the_language_model_and_transparent_to_the_vae(
    pipe: QwenImagePipeline,
) -> None:
    image = photo(1, (64, 64)).convert("RGBA")
    image.paste((10, 20, 30, 0), (0, 0, 32, 64))
    assert distance(ours(pipe, encoded(pipe, image)), theirs(pipe, [image])) < TOLERANCE


def test_an_empty_prompt_and_one_in_another_script(pipe: QwenImagePipeline) -> None:
    photos = pictures(1)
    for prompt in ("", " ", "{a} %s café", "一只杯子"):
        assert distance(ours(pipe, encoded(pipe, *photos), prompt), theirs(pipe, photos, prompt)) < TOLERANCE


@pytest.mark.parametrize(
    "wrong", ["order", "photo", "one less", "grid", "latents", "picture", "index", "prompt", "none"]
)
def test_a_wrong_reference_moves_pixels_a_hundred_times_further(pipe: QwenImagePipeline, wrong: str) -> None:
    square = [photo(number, (64, 96)) for number in (1, 2)]
    whole = encoded(pipe, *square)
    one, two = whole.photos
    right = ours(pipe, whole)
    other = encoded(pipe, photo(9, (64, 96))).photos[0]

    def changed(**maps: torch.Tensor) -> SubjectFeatures:
        return replace(one, cache_key=wrong, maps={**one.maps, **maps})

    turned = {name: value.transpose(1, 2).contiguous() for name, value in one.maps.items()}
    subjects: dict[str, tuple[SubjectFeatures, ...]] = {
        "order": (two, one),
        "photo": (one, other),
        "one less": (one,),
        "grid": (changed(**turned), two),
        "latents": (changed(latents=other.maps[LATENTS]), two),
        "picture": (changed(picture=other.maps[PICTURE]), two),
        "index": (one, one, two),
        "prompt": (one, two),
    }
    if wrong == "none":
        image = theirs(pipe, None)
    else:
        image = ours(
            pipe, PhotoSet(photos=subjects[wrong]), "something else" if wrong == "prompt" else PROMPT
        )
    assert distance(right, image) > 100 * TOLERANCE


def test_rows_of_a_mixed_batch_are_those_of_solo_runs(pipe: QwenImagePipeline) -> None:
    """Prompts are ragged, grids differ, and so do numbers of photos."""
    subjects: list[Features] = [encoded(pipe, photo(number)).photos[0] for number in (1, 2)]
    subjects += [encoded(pipe, photo(3, (96, 48))), encoded(pipe, *pictures(3)), subjects[0]]
    prompts = ["short", "a much longer prompt about a mug that stands on a table", "x", "y", "a" * 300]
    generators = [torch.Generator().manual_seed(7) for _ in prompts]
    settings: dict[str, Any] = {"num_inference_steps": 4, "height": SIDE, "width": SIDE, "output_type": "np"}
    batch = np.asarray(pipe(prompts, subjects, generator=generators, **settings).images)
    for row, (prompt, subject) in enumerate(zip(prompts, subjects, strict=True)):
        assert distance(batch[row], ours(pipe, subject, prompt)[0]) < 1e-5


def test_the_vision_tower_reads_each_set_once_and_again_after_it_was_dropped(pipe: QwenImagePipeline) -> None:
    subjects = [encoded(pipe, photo(11)), encoded(pipe, photo(12), photo(13))]
    read: list[int] = []
    handle = pipe.base.text_encoder.model.visual.register_forward_hook(lambda *_: read.append(1))
    prefixes, prompts = pipe.prefixes, ("a", "b", "c")
    before = prefixes.vision_passes
    wanted = [ours(pipe, subject, prompt) for prompt in prompts for subject in subjects]
    assert len(read) == prefixes.vision_passes - before == 2
    try:
        for host, passes in ((0, 6), (1 << 30, 2)):
            pipe.prefixes = Prefixes(pipe.base, capacity_bytes=1, host_capacity_bytes=host)
            again = [ours(pipe, subject, prompt) for prompt in prompts for subject in subjects]
            assert pipe.prefixes.vision_passes == passes
            assert all(np.array_equal(one, two) for one, two in zip(wanted, again, strict=True))
    finally:
        pipe.prefixes = prefixes
        handle.remove()


def job(folder: Path, **changes: Any) -> JobSpec:
    values: dict[str, Any] = {"name": "j", "catalog": "c.csv", "output": "o", "prompts": ("p",), **changes}
    return JobSpec(model=ModelSpec(base=str(folder)), **values)


def test_the_family_is_recognized(folder: Path) -> None:
    assert family_of("dreamcache", str(folder)) is FAMILY
    assert family_of("dreamcache", "mini") is not FAMILY
    facts = plan_facts(job(folder))
    assert GenerationSettings().resolved(dict(facts.adapter.recommended)).steps == 40
    assert facts.reference.places == (LATENTS, PICTURE)
    assert facts.reference.size == 1024


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [
        ("generation", GenerationSettings(image_scale=1.0), "has no scale"),
        ("generation", GenerationSettings(negative_prompt="ugly"), "without guidance"),
        ("generation", GenerationSettings(height=72), "must be a multiple of 32"),
        ("reference", EncodeSettings(timestep=300), "computed at timestep 0"),
    ],
)
def test_a_setting_that_the_family_does_not_have_is_refused(
    folder: Path, group: str, value: Any, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        plan_facts(job(folder, **{group: value}))


def test_steps_that_the_author_states_are_the_models(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "base")
    index = copy / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "sample_sigmas": [1.0, 0.7, 0.3]}))
    facts = plan_facts(job(copy))
    assert dict(facts.adapter.recommended) == {"num_inference_steps": 3}
    with pytest.raises(SpecError, match="must be 3 for model"):
        plan_facts(job(copy, generation=GenerationSettings(num_inference_steps=4)))
    pipe = QwenImagePipeline(facts.base, facts.adapter, dtype=torch.float32, device="cpu")
    photos = pictures(1)
    wanted = {"num_inference_steps": 3}
    assert distance(ours(pipe, encoded(pipe, *photos), **wanted), theirs(pipe, photos, **wanted)) < TOLERANCE


def test_a_photo_that_the_model_cannot_read(pipe: QwenImagePipeline) -> None:
    with pytest.raises(ImageError) as error:
        pipe.encode_reference(photo(1, (64, 513)), settings=EXACT)
    assert error.value.code == "bad_shape"


@pytest.mark.parametrize("size", [(64, 512), (512, 64), (8, 8), (9, 70)])
def test_every_other_shape_is_within_what_the_cache_expects(
    pipe: QwenImagePipeline, size: tuple[int, int]
) -> None:
    subject = pipe.encode_reference(photo(1, size), settings=EXACT)
    resolved = FAMILY.encoding(EXACT, pipe.info, pipe.adapter_info, "float32")
    expected = pipe.encoder(resolved).expected(subject.reference_id)
    check(subject.to_stored(), expected, "features")
    ours(pipe, subject)
    for forged in (torch.zeros(9, 4, 4), torch.zeros(8, 400, 400)):
        stored = replace(subject, maps={**subject.maps, LATENTS: forged}).to_stored()
        with pytest.raises(CacheError, match="latents must be float32"):
            check(stored, expected, "features")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("<|vision_start|>", "must not hold"),
        ("a <|image_pad|> b", "must not hold"),
        ("mug " * 200, "at most 512 tokens"),
    ],
)
def test_a_prompt_that_would_be_read_otherwise(pipe: QwenImagePipeline, prompt: str, message: str) -> None:
    pipe.prompts.check("a mug")
    with pytest.raises(PromptError, match=message.replace("|", "[|]")):
        pipe.prompts.check(prompt)


def describe_and_open(folder: Path) -> None:
    """What a plan, an estimate and a worker read of a base."""
    spec = job(folder)
    facts, family = plan_facts(spec), family_of_job(spec)
    family.feature_bytes(facts.base, facts.reference)
    settings = GenerationSettings()
    family.worker_bytes(facts.base, facts.adapter, settings, batch_size=2, dtype="float32", on_gpu=False)
    QwenImagePipeline(facts.base, facts.adapter, dtype=torch.float32, device="cpu")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model_index.json", "{"),
        ("model_index.json", "{}"),
        ("vae/config.json", '{"z_dim": 1e99}'),
        ("vae/config.json", "[]"),
        ("transformer/config.json", '{"causal_condition": false}'),
        ("transformer/config.json", "\0"),
        ("processor/tokenizer_config.json", "["),
        ("processor/preprocessor_config.json", ""),
        ("processor/tokenizer.json", "{}"),
    ],
)
def test_a_damaged_base_ends_in_one_line(folder: Path, tmp_path: Path, name: str, text: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "base")
    (copy / name).write_text(text)
    with pytest.raises(ModelError) as error:
        describe_and_open(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["chat_template.jinja", "preprocessor_config.json", "processor_config.json"])
def test_what_decides_pixels_is_in_the_identity(folder: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "base")
    file = copy / "processor" / name
    if name == "processor_config.json":  # transformers takes what is nested here before the other file
        plain = json.loads((copy / "processor/preprocessor_config.json").read_text())
        file.write_text(json.dumps({"image_processor": {**plain, "image_mean": [0.1, 0.2, 0.3]}}))
        assert tuple(open_reader(str(copy)).image_processor.image_mean) == (0.1, 0.2, 0.3)
    before = FAMILY.describe_base(str(copy), None).fingerprint
    text = file.read_text()
    file.write_text(json.dumps({**json.loads(text), "x": 1}) if name.endswith("json") else f"{text} ")
    assert FAMILY.describe_base(str(copy), None).fingerprint != before
    if name == "processor_config.json":
        (copy / "processor/preprocessor_config.json").unlink()
        FAMILY.describe_base(str(copy), None)
