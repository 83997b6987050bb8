"""Tiny models of the other methods' real classes, with random weights, in the layouts they are published in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.deprecated.blip_diffusion.blip_image_processing import BlipImageProcessor
from diffusers.pipelines.deprecated.blip_diffusion.modeling_blip2 import Blip2QFormerModel
from diffusers.pipelines.deprecated.blip_diffusion.modeling_ctx_clip import ContextCLIPTextModel
from diffusers.pipelines.deprecated.blip_diffusion.pipeline_blip_diffusion import BlipDiffusionPipeline
from safetensors.torch import save_file
from transformers import (
    BertTokenizer,
    Blip2Config,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families import family_of
from dreamcache.inference.families.open import open_pipeline
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from tests.tiny import TEXT_WIDTH

WIDTH = 24
QUERIES = 8
PHOTO = 32


def open_method(method: str, base: str, *, adapter: str | None = None) -> Any:
    """The pipeline of a method on the CPU, as a job's session opens it."""
    return open_pipeline(family_of(method), ModelSpec(base=base, adapter=adapter))


def describe_adapter(method: str, adapter: str | None, base: BaseInfo) -> AdapterInfo:
    """What stands beside the base model."""
    return family_of(method).describe_adapter(adapter, base)


def save_ip_adapter(folder: Path, base: str) -> str:
    """One file, and image_encoder/ beside it."""
    torch.manual_seed(6)
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=PHOTO,
            patch_size=8,
            projection_dim=WIDTH,
        )
    ).save_pretrained(folder / "image_encoder")
    weights = {
        "image_proj.proj.weight": torch.randn(4 * TEXT_WIDTH, WIDTH),
        "image_proj.proj.bias": torch.zeros(4 * TEXT_WIDTH),
        "image_proj.norm.weight": torch.ones(TEXT_WIDTH),
        "image_proj.norm.bias": torch.zeros(TEXT_WIDTH),
    }
    number = 1
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
            for part in ("to_k_ip", "to_v_ip"):
                weights[f"ip_adapter.{number}.{part}.weight"] = torch.randn(width, TEXT_WIDTH)
            number += 2  # as published: the self-attentions between are counted too
    place = folder / "ip-adapter_tiny.safetensors"
    save_file(weights, place)
    return str(place)


def save_blip(folder: Path, base: str) -> str:
    """A BLIP-Diffusion folder around the base's U-Net and VAE, with its BERT tokenizer in it."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    folder.mkdir(parents=True)
    words = folder / "words.txt"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words.write_text("\n".join([*special, *letters, *("##" + letter for letter in letters)]))
    bert = BertTokenizer(vocab=str(words))
    bert.save_pretrained(folder / "qformer_tokenizer")
    words.unlink()
    torch.manual_seed(3)
    sizes = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    qformer = Blip2QFormerModel(
        Blip2Config(
            vision_config={**sizes, "image_size": PHOTO, "patch_size": 8, "hidden_act": "quick_gelu"},
            qformer_config={
                **sizes,
                "vocab_size": len(bert) + 1,  # [DEC], which the model adds
                "max_position_embeddings": 64,
                "encoder_hidden_size": TEXT_WIDTH,
            },
            num_query_tokens=QUERIES,
            tokenizer=str(folder / "qformer_tokenizer"),
        )
    )
    plain = StableDiffusionPipeline.from_pretrained(base)
    text_encoder = ContextCLIPTextModel(
        CLIPTextConfig(**sizes, vocab_size=len(plain.tokenizer), max_position_embeddings=77)
    )
    for model in (qformer, text_encoder):  # their own init leaves queries and photo near zero
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=2.0 * parameter.shape[-1] ** -0.5)
    BlipDiffusionPipeline(
        tokenizer=plain.tokenizer,
        text_encoder=text_encoder,
        vae=plain.vae,
        unet=plain.unet,
        scheduler=PNDMScheduler.from_config(plain.scheduler.config, skip_prk_steps=True),
        qformer=qformer,
        image_processor=BlipImageProcessor(size={"height": PHOTO, "width": PHOTO}),
        ctx_begin_pos=2,
        mean=[0.48, 0.46, 0.41],
        std=[0.27, 0.26, 0.28],
    ).save_pretrained(folder)
    return str(folder)
