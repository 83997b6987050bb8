"""LoRAs on a base: diffusers' own result without a subject, another identity, and what is no LoRA of this base."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from dreamcache import DreamCachePipeline
from dreamcache.core.config.job import LoraSpec, ModelSpec
from dreamcache.core.errors import ModelError
from dreamcache.inference.facts import describe_models
from tests.lora_file import lora_tensors, write_lora
from tests.tiny import save_base, save_random_adapter

pytest.importorskip("peft")
pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module")]
CALL: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}
PROMPT = "a mug"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def adapter(base: Path) -> str:
    return str(save_random_adapter(base.parent / "adapter", base))


@pytest.fixture(scope="module")
def loras(base: Path) -> list[tuple[str, float]]:
    files = [write_lora(base.parent / f"{seed}.safetensors", base, seed=seed) for seed in (1, 2)]
    return [(str(files[0]), 0.8), (str(files[1]), -0.5)]


@pytest.fixture(scope="module")
def pipe(base: Path, adapter: str, loras: list[tuple[str, float]]) -> DreamCachePipeline:
    return DreamCachePipeline.from_pretrained(str(base), adapter=adapter, loras=loras)


def images_of(pipe: Any, **settings: Any) -> Any:
    return pipe(PROMPT, generator=torch.Generator().manual_seed(3), **CALL, **settings).images


def test_without_a_subject_the_images_are_diffusers_own(
    pipe: DreamCachePipeline, base: Path, adapter: str, loras: list[tuple[str, float]]
) -> None:
    theirs = StableDiffusionPipeline.from_pretrained(str(base), use_safetensors=True, safety_checker=None)
    plain = images_of(theirs, guidance_scale=5.0)
    for number, (path, _) in enumerate(loras):
        theirs.load_lora_weights(load_file(path), adapter_name=f"n{number}")
    theirs.set_adapters(["n0", "n1"], [weight for _, weight in loras])
    expected = images_of(theirs, guidance_scale=5.0)
    ours = images_of(pipe, guidance_scale=5.0)
    assert np.abs(expected - plain).max() > 1e-2, "the LoRAs change the image"
    assert np.abs(ours - expected).max() < 1e-4


def test_features_and_keys_are_others(
    pipe: DreamCachePipeline, base: Path, adapter: str, loras: list[tuple[str, float]]
) -> None:
    photo = Image.new("RGB", (64, 64), "red")
    plain = DreamCachePipeline.from_pretrained(str(base), adapter=adapter)
    free, ours = plain.encode_reference(photo), pipe.encode_reference(photo)
    assert free.cache_key != ours.cache_key
    assert any(not torch.equal(free.maps[place], ours.maps[place]) for place in free.maps)
    with pytest.raises(Exception, match="base"):
        pipe(PROMPT, free, **CALL)


def test_the_identity_is_of_content_order_and_weights(
    base: Path, adapter: str, loras: list[tuple[str, float]], tmp_path: Path
) -> None:
    def identity(*named: tuple[str, float]) -> str:
        specs = tuple(LoraSpec(path=path, weight=weight) for path, weight in named)
        return describe_models(
            "dreamcache", ModelSpec(base=str(base), adapter=adapter, loras=specs)
        ).base.fingerprint

    first, second = loras
    known = {
        identity(),
        identity(first),
        identity(*loras),
        identity(second, first),
        identity((first[0], 0.7)),
    }
    assert len(known) == 5
    copy = tmp_path / "pytorch_lora_weights.safetensors"
    copy.write_bytes(Path(first[0]).read_bytes())
    assert identity((str(copy), 0.8)) == identity((str(tmp_path), 0.8)) == identity(first)


def _not_lora(path: Path, base: Path) -> None:
    save_file({"a": torch.zeros(2)}, path)


def _other_shapes(path: Path, base: Path) -> None:
    save_file({k: torch.cat([v, v], dim=-1) for k, v in lora_tensors(base).items()}, path)


def _other_layers(path: Path, base: Path) -> None:
    save_file({k.replace("mid_block", "no_block"): v for k, v in lora_tensors(base).items()}, path)


def _all_other(path: Path, base: Path) -> None:
    save_file({k.replace("unet.", "transformer."): v for k, v in lora_tensors(base).items()}, path)


def _nan(path: Path, base: Path) -> None:
    save_file({k: v * float("nan") for k, v in lora_tensors(base).items()}, path)


def _cut(path: Path, base: Path) -> None:
    write_lora(path, base)
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("write", "message", "at_plan"),
    [
        (_not_lora, r"must hold 1 to 50,000 tensors of a LoRA, has 0 of 1", True),
        (_cut, "was not copied whole", True),
        (_other_shapes, r"LoRA '.*' *does not fit this base|LoRA .* does not fit", False),
        (_other_layers, "in this base", False),
        (_all_other, "does not fit this base|in this base", False),
        (_nan, "cannot be fused", False),
    ],
)
def test_what_is_no_lora_of_this_base(
    base: Path, adapter: str, tmp_path: Path, write: Any, message: str, at_plan: bool
) -> None:
    path = tmp_path / "lora.safetensors"
    write(path, base)
    spec = ModelSpec(base=str(base), adapter=adapter, loras=(LoraSpec(path=str(path)),))
    if not at_plan:
        describe_models("dreamcache", spec)
    with pytest.raises(ModelError, match=message):
        DreamCachePipeline.from_pretrained(str(base), adapter=adapter, loras=[(str(path), 1.0)])
    if at_plan:
        with pytest.raises(ModelError, match=message):
            describe_models("dreamcache", spec)


def test_what_is_no_file_of_a_lora(base: Path, adapter: str, tmp_path: Path) -> None:
    (tmp_path / "lora.bin").write_bytes(b"pickle")
    (tmp_path / "two").mkdir()
    for name in "ab":
        write_lora(tmp_path / "two" / f"{name}.safetensors", base)
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "two" / "a.safetensors")
    (tmp_path / "out.safetensors").symlink_to("/etc/hostname")
    for name, message in {
        "none.safetensors": "got nothing there",
        "lora.bin": "got 'lora.bin'; name the file itself, and convert others to safetensors",
        "two": "got a folder with 2 of them",
        "pipe.safetensors": "must be a regular file",
        "out.safetensors": "a link that leads out of it",
        "\0": "model.loras",
    }.items():
        with pytest.raises(ModelError, match=message):
            describe_models(
                "dreamcache",
                ModelSpec(base=str(base), adapter=adapter, loras=(LoraSpec(path=f"{tmp_path}/{name}"),)),
            )


def test_loras_that_nobody_named_are_not_cached(base: Path, adapter: str, loras: Any) -> None:
    pipe = DreamCachePipeline.from_pretrained(str(base), adapter=adapter)
    pipe.base.load_lora_weights(load_file(loras[0][0]), adapter_name="mine")
    with pytest.raises(ModelError, match="LoRAs were put on the base by hand"):
        pipe.encode_reference(Image.new("RGB", (64, 64), "red"))


def test_a_fused_base_takes_the_adapter_where_that_is_allowed(
    pipe: DreamCachePipeline, adapter: str, tmp_path: Path
) -> None:
    fused = tmp_path / "fused"
    pipe.base.save_pretrained(fused, safe_serialization=True)
    with pytest.raises(ModelError, match="allow_other_base takes this one anyway"):
        DreamCachePipeline.from_pretrained(str(fused), adapter=adapter)
    other = DreamCachePipeline.from_pretrained(str(fused), adapter=adapter, allow_other_base=True)
    photo = Image.new("RGB", (64, 64), "red")
    ours, theirs = (images_of(one, subject=one.encode_reference(photo)) for one in (pipe, other))
    assert np.array_equal(ours, theirs)
