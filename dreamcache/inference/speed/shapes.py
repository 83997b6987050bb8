"""Pipelines with random weights at a chosen size: SD 2.1's or SDXL's true size, or their modules with few channels.

Nothing is downloaded: tokenizer and text encoder are the embedded model's, and calls bring embeddings of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from dreamcache.inference.families.sdxl.open import LAYOUT as SDXL_LAYOUT
from dreamcache.inference.layouts import STABLE_DIFFUSION
from dreamcache.inference.pipeline import DreamCachePipeline
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.features import SubjectFeatures
from dreamcache.model.places import default_places, feature_shapes, place_shapes
from dreamcache.model.unet import SIZES
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.lookup import mini_folder

FINGERPRINT = "0" * 64
TOKENS = 77
VAE_SCALE = 8
IP_TOKENS = 4
"""Image tokens of the usual IP-Adapter."""
IP_WIDTH = 1024
"""Of CLIP's embedding of a photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """A U-Net of the SD or SDXL layout. side: of an image, in pixels. unet, vae: changes of diffusers' defaults."""

    name: str
    side: int = 512
    unet: Mapping[str, Any] = field(default_factory=dict, hash=False)
    vae: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def latent_side(self) -> int:
        return self.side // VAE_SCALE

    @property
    def text_width(self) -> int:
        return int(self.unet["cross_attention_dim"])

    @property
    def pooled_width(self) -> int:
        """Of the pooled text that SDXL's U-Net reads besides the states; 0 for one of Stable Diffusion."""
        if "addition_embed_type" not in self.unet:
            return 0
        sizes = SIZES * int(self.unet["addition_time_embed_dim"])
        return int(self.unet["projection_class_embeddings_input_dim"]) - sizes


_LINEAR = {"use_linear_projection": True}
SD21 = Size(
    name="SD 2.1",
    unet={"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "sample_size": 64, **_LINEAR},
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
)
SDXL = Size(
    name="SDXL",
    side=1024,
    unet={
        "block_out_channels": (320, 640, 1280),
        "transformer_layers_per_block": (1, 2, 10),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "sample_size": 128,
        **_LINEAR,
    },
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
)
FEW_CHANNELS = Size(
    name="SD 2.1's modules with few channels",
    side=64,
    unet={
        "cross_attention_dim": 128,
        "attention_head_dim": (4, 8, 8, 8),
        "block_out_channels": (32, 64, 64, 64),
        "sample_size": 8,
        **_LINEAR,
    },
    vae={"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1},
)
"""Arithmetic weighs little here: what is timed is Python and the dispatch of kernels."""
SDXL_FEW_CHANNELS = Size(
    name="SDXL's modules with few channels",
    side=64,
    unet={
        **SDXL.unet,
        "block_out_channels": (32, 64, 64),
        "attention_head_dim": (4, 8, 8),
        "cross_attention_dim": 128,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": SIZES * 8 + 64,
        "sample_size": 8,
    },
    vae=FEW_CHANNELS.vae,
)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def build_unet(size: Size, *, dtype: torch.dtype, device: str) -> UNet2DConditionModel:
    """With random weights, frozen."""
    torch.manual_seed(0)
    with _default_dtype(dtype), torch.device(device):
        return UNet2DConditionModel(**size.unet).requires_grad_(False).eval()


def build_vae(size: Size, *, dtype: torch.dtype, device: str) -> AutoencoderKL:
    """With random weights, frozen."""
    torch.manual_seed(1)
    with _default_dtype(dtype), torch.device(device):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=size.side,
            **size.vae,
        )
    return vae.requires_grad_(False).eval()


def build_adapter(unet: UNet2DConditionModel, *, dtype: torch.dtype, device: str) -> DreamCacheAdapter:
    """At the paper's places, with random weights, so that the reference shows."""
    torch.manual_seed(2)
    with _default_dtype(dtype), torch.device(device):
        adapter = DreamCacheAdapter(place_shapes(unet, default_places(unet)))
    for parameter in adapter.parameters():
        parameter.requires_grad_(False)
        if parameter.dim() > 1 and device != "meta":
            parameter.normal_(std=parameter.shape[1] ** -0.5)
    return adapter


def build_base(
    size: Size, *, dtype: torch.dtype, device: str
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """diffusers' own pipeline. Its text encoders only stand in: calls bring embeddings."""
    text = CLIPTextModel.from_pretrained(mini_folder() / "text_encoder", dtype=dtype).requires_grad_(False)
    parts = {
        "vae": build_vae(size, dtype=dtype, device=device),
        "text_encoder": text.to(device).eval(),
        "tokenizer": CLIPTokenizer.from_pretrained(mini_folder() / "tokenizer"),
        "unet": build_unet(size, dtype=dtype, device=device),
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
    }
    base: StableDiffusionPipeline | StableDiffusionXLPipeline
    if size.pooled_width:
        second = _projecting_text(text.config, size.pooled_width, dtype=dtype, device=device)
        more = {"text_encoder_2": second, "tokenizer_2": parts["tokenizer"]}
        base = StableDiffusionXLPipeline(**parts, **more, add_watermarker=False)
    else:
        base = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    base.set_progress_bar_config(disable=True)
    return base


def _projecting_text(
    like: CLIPTextConfig, width: int, *, dtype: torch.dtype, device: str
) -> CLIPTextModelWithProjection:
    """A text encoder of the same tokens that pools to so many numbers: pipelines read the number from its config."""
    changes = {"projection_dim": width, "num_hidden_layers": 1}
    with _default_dtype(dtype), torch.device(device):
        model = CLIPTextModelWithProjection(CLIPTextConfig.from_dict({**like.to_dict(), **changes}))
    return model.requires_grad_(False).eval()


def build_pipeline(size: Size, *, dtype: torch.dtype, device: str) -> DreamCachePipeline:
    """Ours, with an adapter."""
    base = build_base(size, dtype=dtype, device=device)
    info = BaseInfo(
        name=size.name,
        location="",
        revision=None,
        fingerprint=FINGERPRINT,
        native_size=size.side,
        prediction_type="epsilon",
    )
    adapter = build_adapter(base.unet, dtype=dtype, device=device)
    return DreamCachePipeline(
        base, info, adapter, layout=SDXL_LAYOUT if size.pooled_width else STABLE_DIFFUSION
    )


def random_subject(pipe: DreamCachePipeline, size: Size, name: str) -> SubjectFeatures:
    """Features of unit deviation at the true shapes."""
    generator = torch.Generator().manual_seed(len(name))
    shapes = feature_shapes(pipe.base.unet, pipe.places, (size.latent_side, size.latent_side))
    return SubjectFeatures(
        cache_key=name,
        reference_id="",
        base_fingerprint=FINGERPRINT,
        maps={place: torch.randn(shape, generator=generator).half() for place, shape in shapes.items()},
    )


def random_text(size: Size, rows: int, *, dtype: torch.dtype, device: str) -> Tensor:
    """Embeddings [rows, tokens, width] that stand for prompts."""
    text = torch.randn(rows, TOKENS, size.text_width, generator=torch.Generator().manual_seed(rows))
    return text.to(device, dtype)


def random_embeddings(size: Size, rows: int, *, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """The arguments of a pipeline's call that stand for so many prompts and negative prompts."""
    text, null = (random_text(size, count, dtype=dtype, device=device) for count in (rows, rows + 1))
    embeddings = {"prompt_embeds": text, "negative_prompt_embeds": null[:rows]}
    if size.pooled_width:
        pooled = torch.randn(2 * rows, size.pooled_width, generator=torch.Generator().manual_seed(rows))
        for name, values in zip(("", "negative_"), pooled.to(device, dtype).chunk(2), strict=True):
            embeddings[f"{name}pooled_prompt_embeds"] = values
    return embeddings


def load_random_ip_adapter(base: StableDiffusionPipeline | StableDiffusionXLPipeline) -> None:
    """Puts the usual IP-Adapter (IP_TOKENS image tokens) with random weights on diffusers' pipeline."""
    width = base.unet.config.cross_attention_dim
    names = [name for name in base.unet.attn_processors if name.endswith("attn2.processor")]
    attention = {}
    for number, name in enumerate(base.unet.attn_processors):
        if name in names:
            hidden = base.unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
            for kind in ("k", "v"):
                attention[f"{number}.to_{kind}_ip.weight"] = torch.randn(hidden, width) * width**-0.5
    projection = {
        "proj.weight": torch.randn(IP_TOKENS * width, IP_WIDTH) * IP_WIDTH**-0.5,
        "proj.bias": torch.zeros(IP_TOKENS * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    base.load_ip_adapter(
        {"image_proj": projection, "ip_adapter": attention},
        subfolder="",
        weight_name="",
        image_encoder_folder=None,
    )
    base.unet.to(base.unet.device, base.unet.dtype).requires_grad_(False)
