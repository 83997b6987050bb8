"""Base models as loaders see them: names of tensors by config, half precision, holes, tokenizers without a limit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from dreamcache import DreamCachePipeline
from dreamcache.core.errors import ModelError
from dreamcache.model.base import load_base, load_unet
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.models.layout import text_encoder_names, unet_names, vae_names
from dreamcache.storage.models.lookup import mini_folder
from tests.header_base import CONFIGS, UNET
from tests.tiny import make_unet, save_base

SD15 = {**UNET, "cross_attention_dim": 768, "attention_head_dim": 8, "use_linear_projection": False}
WEIGHTS = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture
def base(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "base")


def of_mini(part: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((mini_folder() / part / "config.json").read_text())
    return config


@pytest.mark.parametrize(
    "config", [UNET, SD15, of_mini("unet"), dict(make_unet().config)], ids=["2.1", "1.5", "mini", "tiny"]
)
def test_a_unet_has_the_tensors_that_the_layout_states(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        real = set(UNet2DConditionModel.from_config(config).state_dict())
    stated = set(unet_names(config))
    assert stated <= real
    assert {name for name in real - stated if "conv_shortcut" not in name} == set()


@pytest.mark.parametrize("config", [CONFIGS["vae/config.json"], of_mini("vae")], ids=["sd", "mini"])
def test_a_vae_has_the_tensors_that_the_layout_states(config: dict[str, Any]) -> None:
    blocks = len(config["block_out_channels"])
    types = {
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
    }
    with torch.device("meta"):
        real = set(AutoencoderKL.from_config({**config, **types}).state_dict())
    stated = set(vae_names(config))
    assert stated <= real
    assert {name for name in real - stated if "conv_shortcut" not in name} == set()


def test_a_text_encoder_has_the_tensors_that_the_layout_states() -> None:
    config = of_mini("text_encoder")
    with torch.device("meta"):
        real = set(CLIPTextModel(CLIPTextConfig(**config)).state_dict())
    real = {name.removeprefix("text_model.") for name in real if not name.endswith("position_ids")}
    assert set(text_encoder_names(config)) == real


def test_a_folder_of_half_precision_alone_loads_and_computes_as_its_numbers_say(
    base: Path, good: Path
) -> None:
    """Case 27: plan, doctor and worker take the same files; the U-Net in shards by an index, the rest whole."""
    for name in WEIGHTS:
        tensors = load_file(base / f"{name}.safetensors")
        (base / f"{name}.safetensors").unlink()
        save_file({key: value.half() for key, value in tensors.items()}, base / f"{name}.fp16.safetensors")
    unet = base / "unet"
    tensors = load_file(unet / "diffusion_pytorch_model.fp16.safetensors")
    names = sorted(tensors)
    parts = {"1": names[: len(names) // 2], "2": names[len(names) // 2 :]}
    weight_map = {}
    for number, part in parts.items():
        shard = f"diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, unet / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    (unet / "diffusion_pytorch_model.fp16.safetensors").unlink()
    (unet / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    )
    (unet / "LICENSE").write_text("x")  # diffusers' own look for variants fails at a name without a dot
    info = describe_base(str(base))
    pipe = load_base(info, dtype=torch.float32, device="cpu")
    full = load_base(describe_base(str(good)), dtype=torch.float32, device="cpu")
    for name, value in full.unet.state_dict().items():
        assert torch.equal(pipe.unet.state_dict()[name], value.half().float()), name
    assert pipe.vae.dtype == pipe.text_encoder.dtype == torch.float32
    assert load_unet(info).dtype == torch.float32


def test_a_tensor_that_the_plan_does_not_look_for_is_named_when_the_model_is_opened(base: Path) -> None:
    file = base / "unet/diffusion_pytorch_model.safetensors"
    tensors = {key: value for key, value in load_file(file).items() if "conv_shortcut" not in key}
    save_file(tensors, file, metadata={"format": "pt"})
    info = describe_base(str(base))
    with pytest.raises(ModelError, match=r"the weights lack .* tensors that its config needs.*conv_shortcut"):
        load_base(info, dtype=torch.float32, device="cpu")


def test_weights_of_other_shapes_are_a_model_error(base: Path) -> None:
    config = base / "unet/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "cross_attention_dim": 48}))
    with pytest.raises(ModelError, match="cannot be loaded as a StableDiffusionPipeline"):
        load_base(describe_base(str(base)), dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("limit", [None, 10**30, 5000])
def test_a_tokenizer_without_a_limit_has_the_text_encoders(base: Path, limit: int | None) -> None:
    """Case 28: OverflowError at the first prompt, before."""
    file = base / "tokenizer/tokenizer_config.json"
    config = {key: value for key, value in json.loads(file.read_text()).items() if key != "model_max_length"}
    file.write_text(json.dumps({**config, "model_max_length": limit} if limit else config))
    info = describe_base(str(base))
    pipe = DreamCachePipeline(load_base(info, dtype=torch.float32, device="cpu"), info, None)
    assert pipe.prompts.limit == 77
    assert pipe(["a mug"], num_inference_steps=1, output_type="np").images.shape == (1, 128, 128, 3)


def test_a_sample_size_of_two_equal_sides_is_one(base: Path) -> None:
    """Case 28: SD folders of some converters hold a pair."""
    file = base / "unet/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sample_size": [16, 16]}))
    assert describe_base(str(base)).native_size == 128
