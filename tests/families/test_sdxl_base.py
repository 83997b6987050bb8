"""SDXL as a base of a job: facts, places, memory, precision, what is saved, and bases that cannot be used."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dreamcache import DreamCachePipeline
from dreamcache.core.config import EncodeSettings, GenerationSettings
from dreamcache.core.config.job import JobSpec, ModelSpec
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.facts import plan_facts
from dreamcache.inference.families import family_of
from dreamcache.inference.families.cached import open_references
from dreamcache.inference.families.sd_sizes import feature_shapes
from dreamcache.inference.families.sdxl.describe import FAMILY
from dreamcache.model.places import block_at, default_places, place_shapes
from tests.families.klein import photo
from tests.families.sdxl import (
    PROMPT,
    SIDE,
    TOLERANCE,
    distance,
    ours,
    theirs,
)
from tests.lora_file import write_lora


@pytest.mark.parametrize("name", ["sd", "sdxl", "flux2_klein", "qwen_image"])
def test_families_with_stored_features_open_references_in_one_way(name: str) -> None:
    """Limits, web hosts and capacity reach the references of each: a copy once left the hosts out."""
    module = import_module(f"dreamcache.inference.families.{name}.open")
    assert module.open_references is open_references


def test_facts_of_a_job(sdxl_folder: Path) -> None:
    facts = plan_facts(job(sdxl_folder))
    assert family_of("dreamcache", str(sdxl_folder / "base")) is FAMILY
    assert facts.base.native_size == SIDE == facts.reference.size
    assert list(feature_shapes(facts.base, facts.reference).values()) == [
        (64, 4, 4), (64, 4, 4), (32, 8, 8), (32, 8, 8)
    ]  # fmt: skip
    assert FAMILY.feature_bytes(facts.base, facts.reference) > 2 * (64 * 4 * 4 + 32 * 8 * 8)


def job(sdxl_folder: Path, **changes: Any) -> JobSpec:
    values: dict[str, Any] = {"name": "j", "catalog": "c.csv", "output": "o", "prompts": ("p",), **changes}
    return JobSpec(
        model=ModelSpec(base=str(sdxl_folder / "base"), adapter=str(sdxl_folder / "adapter")), **values
    )


def test_places_by_rule_and_by_name(sdxl_pipe: DreamCachePipeline) -> None:
    unet = sdxl_pipe.base.unet
    assert (
        sdxl_pipe.places
        == default_places(unet)
        == tuple(
            f"{name}.transformer_blocks.0"
            for name in (
                "mid_block.attentions.0",
                "up_blocks.0.attentions.1",
                "up_blocks.1.attentions.0",
                "up_blocks.1.attentions.2",
            )
        )
    )
    assert [len(unet.get_submodule(place.rpartition(".")[0])) for place in sdxl_pipe.places] == [10, 10, 2, 2]
    assert block_at(unet, "mid_block.attentions.0") is block_at(unet, sdxl_pipe.places[0])
    for place, message in {
        "mid_block.attentions.0.transformer_blocks.10": "the transformer there has the blocks 0 to 9",
        "mid_block.attentions.0.transformer_blocks.-1": "has the blocks 0 to 9",
        "mid_block.attentions.0.transformer_blocks.1.attn1": "has the blocks 0 to 9",
        "mid_block.attentions.1": "not a spatial transformer of this U-Net",
        "conv_in": "not a spatial transformer",
    }.items():
        with pytest.raises(ModelError, match=message):
            block_at(unet, place)
    with pytest.raises(ModelError, match="name the same block"):
        place_shapes(unet, ["mid_block.attentions.0", sdxl_pipe.places[0]])


@pytest.mark.slow
@pytest.mark.turns(unit="module")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_vae_that_overflows_stays_in_float32(sdxl_folder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    safe = shutil.copytree(sdxl_folder / "base", tmp_path / "safe")
    config = safe / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": False}))
    for base, expected in ((sdxl_folder / "base", torch.float32), (safe, dtype)):
        sdxl_pipe = DreamCachePipeline.from_pretrained(
            base, adapter=sdxl_folder / "adapter", dtype=dtype, allow_other_base=True
        )
        assert (sdxl_pipe.base.vae.dtype, sdxl_pipe.dtype) == (expected, dtype)
        assert sdxl_pipe.base.text_encoder_2.dtype == sdxl_pipe.base.text_encoder.dtype == dtype
        before = sdxl_pipe.base.vae.decoder.conv_in.weight.clone()
        sdxl_pipe.to(torch.float16)
        assert sdxl_pipe.dtype == torch.float16
        assert sdxl_pipe.base.vae.dtype == (torch.float32 if base != safe else torch.float16)
        if base != safe:
            assert torch.equal(before, sdxl_pipe.base.vae.decoder.conv_in.weight)


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_images_of_a_half_precision_base_are_finite(sdxl_folder: Path) -> None:
    sdxl_pipe = DreamCachePipeline.from_pretrained(
        sdxl_folder / "base", adapter=sdxl_folder / "adapter", dtype=torch.bfloat16
    )
    sdxl_pipe.set_progress_bar_config(disable=True)
    images = ours(sdxl_pipe, sdxl_pipe.encode_reference(photo(1)))
    assert images.dtype == np.float32 and np.isfinite(images).all() and images.std() > 0.01


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_what_a_pipeline_saves_it_loads(sdxl_pipe: DreamCachePipeline, tmp_path: Path) -> None:
    sdxl_pipe.save_pretrained(tmp_path / "saved")
    again = DreamCachePipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    subject, same = (one.encode_reference(photo(1)) for one in (sdxl_pipe, again))
    assert distance(ours(sdxl_pipe, subject), ours(again, same)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_embeddings_of_a_caller_are_those_of_the_prompt(sdxl_pipe: DreamCachePipeline) -> None:
    states, null, pooled, null_pooled = sdxl_pipe.base.encode_prompt(PROMPT)
    given = {"prompt": None, "prompt_embeds": states, "negative_prompt_embeds": null}
    more = {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": null_pooled}
    assert distance(ours(sdxl_pipe, **given, **more), ours(sdxl_pipe)) < TOLERANCE
    for change, message in (
        (
            {"pooled_prompt_embeds": None},
            r"pooled_prompt_embeds: must be a float tensor \[1, 24\], got a NoneType",
        ),
        ({"negative_pooled_prompt_embeds": pooled[:, 1:]}, r"negative_pooled_prompt_embeds: .* got shape"),
        ({"pooled_prompt_embeds": pooled * float("nan")}, "pooled_prompt_embeds: must be finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            ours(sdxl_pipe, **given, **{**more, **change})
    with pytest.raises(ValueError, match="pooled_prompt_embeds: must be given beside embeddings"):
        ours(sdxl_pipe, pooled_prompt_embeds=pooled)


CHANGES: dict[str, tuple[str, Any, str]] = {
    "a refiner": ("model_index.json", {"_class_name": "StableDiffusionXLImg2ImgPipeline"}, "no family"),
    "inpainting": ("unet/config.json", {"in_channels": 9}, "in_channels must be 4"),
    "no pooled text": ("unet/config.json", {"addition_embed_type": None}, "addition_embed_type must be text_time"),
    "latents with a mean": ("vae/config.json", {"latents_mean": [0.0] * 4}, "latents_mean must not be set"),
    "another prediction": ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction_type must"),
    "a lost tensor": ("unet/config.json", {"transformer_layers_per_block": [1, 2, 11]}, "are missing"),
    "damaged": ("text_encoder_2/config.json", "{", "must be a readable JSON file"),
    "no sizes": ("vae/config.json", {"block_out_channels": 3}, "lacks or misstates"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_a_base_that_cannot_be_used_ends_the_plan_in_one_line(
    sdxl_folder: Path, tmp_path: Path, kind: str
) -> None:
    name, change, message = CHANGES[kind]
    base = shutil.copytree(sdxl_folder / "base", tmp_path / "base")
    file = base / name
    text = change if isinstance(change, str) else json.dumps({**json.loads(file.read_text()), **change})
    file.write_text(text)
    with pytest.raises(ModelError, match=message) as error:
        plan_facts(JobSpec(name="j", catalog="c", output="o", model=ModelSpec(base=str(base), adapter="a")))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2"])
def test_a_base_without_its_second_text_encoder(sdxl_folder: Path, tmp_path: Path, part: str) -> None:
    base = shutil.copytree(sdxl_folder / "base", tmp_path / "base")
    before = FAMILY.describe_base(str(base), None).fingerprint
    for file in sorted((base / part).glob("*.json")):
        file.write_text(json.dumps({**json.loads(file.read_text()), "x": 1}))
    assert FAMILY.describe_base(str(base), None).fingerprint != before, "it is part of the identity"
    shutil.rmtree(base / part)
    with pytest.raises(ModelError, match=f"{part} missing"):
        FAMILY.describe_base(str(base), None)


@pytest.mark.parametrize("method", ["text-only", "ip-adapter"])
def test_methods_of_stable_diffusion_refuse_the_base(sdxl_folder: Path, method: str) -> None:
    with pytest.raises(ModelError, match="StableDiffusionXLPipeline"):
        plan_facts(job(sdxl_folder, method=method))


def test_settings_that_do_not_fit_are_refused_at_the_plan(sdxl_folder: Path) -> None:
    for settings, message in (
        (GenerationSettings(num_inference_steps=950), "at most 900"),
        (GenerationSettings(negative_prompt="x " * 90), "negative_prompt"),
    ):
        with pytest.raises(SpecError, match=message):
            plan_facts(job(sdxl_folder, generation=settings))


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_memory_counts_both_text_encoders_and_the_vae_in_float32(sdxl_folder: Path) -> None:
    facts = plan_facts(job(sdxl_folder))
    sizes = {
        dtype: FAMILY.worker_bytes(
            facts.base, facts.adapter, GenerationSettings(), batch_size=0, dtype=dtype, on_gpu=False
        )
        for dtype in ("float32", "bfloat16")
    }
    sdxl_pipe = DreamCachePipeline.from_pretrained(sdxl_folder / "base", adapter=sdxl_folder / "adapter")
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    counts = {name: sum(p.numel() for p in getattr(sdxl_pipe.base, name).parameters()) for name in parts}
    assert sdxl_pipe.adapter is not None
    total = sum(counts.values()) + sum(p.numel() for p in sdxl_pipe.adapter.parameters())
    assert sizes["float32"] == pytest.approx(4 * total, rel=0.01)  # position ids are no parameters
    assert sizes["bfloat16"] == pytest.approx(2 * total + 2 * counts["vae"], rel=0.01)


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_a_photo_is_encoded_with_null_text_and_its_own_size(sdxl_pipe: DreamCachePipeline) -> None:
    """Features depend on neither a prompt nor a target size; another text of the pass is another feature."""
    picture: Image.Image = photo(1)
    plain = sdxl_pipe.encode_reference(picture)
    named = sdxl_pipe.encode_reference(picture, settings=EncodeSettings(text="a mug"))
    assert plain.cache_key != named.cache_key
    assert any(not torch.equal(plain.maps[place], named.maps[place]) for place in sdxl_pipe.places)


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_a_lora_is_that_of_the_bases_own_loaders(sdxl_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    file = write_lora(tmp_path / "lora.safetensors", sdxl_folder / "base", seed=1)
    sdxl_pipe = DreamCachePipeline.from_pretrained(
        sdxl_folder / "base", adapter=sdxl_folder / "adapter", loras=[(str(file), 0.8)]
    )
    plain = DreamCachePipeline.from_pretrained(sdxl_folder / "base", adapter=sdxl_folder / "adapter")
    for one in (sdxl_pipe, plain):
        one.set_progress_bar_config(disable=True)
    without = theirs(plain)
    plain.base.load_lora_weights(load_file(file), adapter_name="one")
    plain.base.set_adapters(["one"], [0.8])
    expected = theirs(plain)
    assert distance(expected, without) > 100 * TOLERANCE
    assert distance(ours(sdxl_pipe), expected) < TOLERANCE
    assert sdxl_pipe.info.fingerprint != plain.info.fingerprint
