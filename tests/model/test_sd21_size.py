"""Stable Diffusion 2.1 at its true size, random weights: parameters, cache size, that it runs and trains in bf16."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from dreamcache import DreamCachePipeline, EncodeSettings
from dreamcache.core.config.train import DataSettings, LossSettings, TrainSettings
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import save_adapter
from dreamcache.model.places import default_places, place_shapes
from dreamcache.storage.feature_cache import to_parquet
from dreamcache.storage.models.base import BaseInfo, describe_base
from dreamcache.training.trainer import Trainer
from tests.tiny import make_tokenizer
from tests.train_samples import write_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def bfloat16_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(torch.float32)


def make_sd21(folder: Path) -> StableDiffusionPipeline:
    """The published configuration of stable-diffusion-2-1-base, random weights; the tokenizer's files in `folder`."""
    unet = UNet2DConditionModel(
        sample_size=64,
        cross_attention_dim=1024,
        attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=768,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=23,
            num_attention_heads=16,
            hidden_act="gelu",
            projection_dim=512,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=make_tokenizer(folder / "tokenizer"),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.usefixtures("bfloat16_by_default")
def test_true_size(tmp_path: Path) -> None:
    make_sd21(tmp_path).save_pretrained(tmp_path)  # 2.6 GB
    info = describe_base(str(tmp_path))
    assert info.native_size == 512
    unet = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet", dtype=torch.bfloat16)
    places = default_places(unet)
    assert places == (
        "mid_block.attentions.0",
        "up_blocks.1.attentions.1",
        "up_blocks.2.attentions.0",
        "up_blocks.2.attentions.2",
        "up_blocks.3.attentions.1",
    )
    adapter = DreamCacheAdapter(place_shapes(unet, places))
    parameters = sum(p.numel() for p in adapter.parameters())
    print(f"adapters: {parameters / 1e6:.2f} M parameters")
    assert round(parameters / 1e6, 1) == 25.2  # paper: 25 M
    save_adapter(adapter, str(tmp_path / "adapter"), base=info, step=0)
    del unet, adapter

    pipe = DreamCachePipeline.from_pretrained(
        str(tmp_path), adapter=str(tmp_path / "adapter"), dtype=torch.bfloat16
    )
    photo = Image.new("RGB", (300, 400), (180, 40, 60))
    subject = pipe.encode_reference(photo, settings=EncodeSettings(segmenter="none"))
    size = sum(value.numel() * value.element_size() for value in subject.maps.values())
    print(f"features: {size / 1e6:.2f} MB in {subject.maps[places[0]].dtype}, before compression")
    assert size == 2 * 3_031_040  # docs/method.md section 1: 3.03 M numbers
    assert len(to_parquet(subject.to_stored())) < 1.05 * size

    images = pipe(
        ["a bag on a beach", "a bag in the snow"], subject, num_inference_steps=2, output_type="np"
    ).images
    assert images.shape == (2, 512, 512, 3)
    assert torch.isfinite(torch.from_numpy(images)).all()


def test_one_training_step(tmp_path: Path) -> None:
    """512 px, bf16, gradient checkpointing, on a CPU: what it takes, and that the adapter alone has gradients."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        base = make_sd21(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    frozen = [p for part in (base.unet, base.vae, base.text_encoder) for p in part.eval().parameters()]
    for parameter in frozen:
        parameter.requires_grad_(False)
    info = BaseInfo(
        name="sd21",
        location=str(tmp_path),
        revision=None,
        fingerprint="0" * 64,
        native_size=512,
        prediction_type="epsilon",
    )
    settings = TrainSettings(
        data=DataSettings(path=str(write_folder(tmp_path / "data", 1)), validation_samples=0),
        loss=LossSettings(drop_text=0, drop_image=0, drop_both=0),
        steps=1,
        global_batch=1,
        micro_batch=1,
        precision="bfloat16",
        gradient_checkpointing=True,
    )
    trainer = Trainer(base, info, settings)
    started = time.perf_counter()
    loss = trainer.mean_loss([next(trainer.steps()).loss])  # raises unless it is finite
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"one step: {seconds:.0f} s, peak memory of the process {peak:.1f} GiB, loss {loss:.3f}")
    assert peak < 12
    assert len(trainer.optimizer.state) == len(list(trainer.adapter.parameters()))
    for name, parameter in trainer.adapter.named_parameters():
        moment = trainer.optimizer.state[parameter]["exp_avg"]
        # At first the join reads nothing of the reference, so the join alone has gradients other than zero.
        assert bool(moment.isfinite().all()) and bool(moment.any()) == ("join" in name), name
    assert all(p.grad is None and not p.requires_grad for p in frozen)
