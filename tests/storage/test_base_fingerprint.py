"""A base model's fingerprint: all that a loader takes is in it, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dreamcache.core.errors import ModelError
from dreamcache.storage.models.base import describe_base
from tests.header_base import write_header_base

WEIGHTS = (
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_header_base(tmp_path)


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("name", WEIGHTS)
def test_one_number_changed_in_the_weights_is_another_base(base: Path, name: str) -> None:
    before = describe_base(str(base)).fingerprint
    assert describe_base(str(base)).fingerprint == before
    data = bytearray((base / name).read_bytes())
    data[-1] ^= 1
    (base / name).write_bytes(data)
    assert describe_base(str(base)).fingerprint != before


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unet/config.json", {"act_fn": "gelu"}),
        ("vae/config.json", {"scaling_factor": 0.5}),
        ("text_encoder/config.json", {"hidden_act": "gelu"}),
        ("scheduler/scheduler_config.json", {"steps_offset": 1}),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 76}),
        ("tokenizer/vocab.json", {"mug</w>": 500}),
        ("model_index.json", {"requires_safety_checker": True}),
        ("model_index.json", {"_class_name": "StableDiffusionImg2ImgPipeline"}),
    ],
)
def test_a_setting_that_a_loader_reads_is_another_base(
    base: Path, name: str, values: dict[str, object]
) -> None:
    before = describe_base(str(base)).fingerprint
    change(base / name, **values)
    assert describe_base(str(base)).fingerprint != before


def test_a_safety_checker_counts_where_the_index_names_it(base: Path) -> None:
    before = describe_base(str(base)).fingerprint
    (base / "safety_checker").mkdir()
    (base / "safety_checker/config.json").write_text('{"model_type": "clip"}')
    save_file({"concept_embeds": np.zeros(3, np.float32)}, base / "safety_checker/model.safetensors")
    assert describe_base(str(base)).fingerprint == before, "no pipeline loads it"
    change(base / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    named = describe_base(str(base)).fingerprint
    save_file({"concept_embeds": np.ones(3, np.float32)}, base / "safety_checker/model.safetensors")
    assert len({before, named, describe_base(str(base)).fingerprint}) == 3


def test_a_feature_extractor_may_be_in_either_file(base: Path) -> None:
    change(base / "model_index.json", feature_extractor=["transformers", "CLIPImageProcessor"])
    folder = base / "feature_extractor"
    folder.mkdir()
    for name, nothing in (("processor_config.json", "{}"), ("other.json", '{"image_processor": {}}')):
        (folder / name).write_text(nothing)
        with pytest.raises(ModelError, match=r"must hold preprocessor_config\.json, or processor"):
            describe_base(str(base))
    (folder / "preprocessor_config.json").write_text('{"size": 224}')
    prints = [describe_base(str(base)).fingerprint]
    (folder / "processor_config.json").write_text('{"image_processor": {"size": 224}}')
    prints.append(describe_base(str(base)).fingerprint)
    (folder / "preprocessor_config.json").unlink()
    prints.append(describe_base(str(base)).fingerprint)
    change(folder / "processor_config.json", image_processor={"size": 336})
    prints.append(describe_base(str(base)).fingerprint)
    assert len(set(prints)) == 4


def test_full_weights_count_before_the_variant_and_an_index_before_one_file(base: Path) -> None:
    """As diffusers loads a U-Net: a variant beside full weights decides nothing, shards by an index do."""
    before = describe_base(str(base)).fingerprint
    unet = base / "unet/diffusion_pytorch_model.safetensors"
    shutil.copy(unet, unet.with_suffix(".fp16.safetensors"))
    assert describe_base(str(base)).fingerprint == before
    tensors = load_file(unet)
    shard = "diffusion_pytorch_model-00001-of-00001.safetensors"
    save_file({name: value + 1 for name, value in tensors.items()}, base / "unet" / shard)
    index = base / "unet/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, shard)}))
    sharded = describe_base(str(base)).fingerprint
    unet.unlink()
    assert describe_base(str(base)).fingerprint == sharded != before
