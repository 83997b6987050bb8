"""BLIP-Diffusion through the parts of diffusers' pipeline: a Q-Former's view of the photo joins the prompt's tokens.

Source and target category are the subject's class. Each image of a batch has its own photo, and its own noise as
elsewhere. Of the generation settings, text_scale is the guidance scale; guidance, image_scale and strength have no
meaning. Knows BlipDiffusionPipeline; knows nothing of jobs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from diffusers.pipelines.deprecated.blip_diffusion.blip_image_processing import BlipImageProcessor
from diffusers.pipelines.deprecated.blip_diffusion.modeling_blip2 import Blip2QFormerModel
from diffusers.pipelines.deprecated.blip_diffusion.modeling_ctx_clip import ContextCLIPTextModel
from diffusers.pipelines.deprecated.blip_diffusion.pipeline_blip_diffusion import BlipDiffusionPipeline
from PIL import Image
from torch import Tensor
from transformers import Blip2Config, CLIPTokenizer

from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ModelError
from dreamcache.core.images import on_white
from dreamcache.inference.families.blip_diffusion.compat import restore_qformer, restore_text_encoder
from dreamcache.inference.families.blip_diffusion.describe import QFORMER_TOKENIZER
from dreamcache.inference.families.sampling import generate_batch
from dreamcache.inference.pipeline import PipelineOutput
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.base import keep_rows_independent
from dreamcache.model.text import PromptEncoder
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.node_cache import once_per_node


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """A subject: the Q-Former's tokens of its photo [queries, width], and what it is."""

    tokens: Tensor
    class_name: str


class BlipDiffusion:
    """A BLIP-Diffusion folder: a fine-tuned Stable Diffusion, a context text encoder and a Q-Former."""

    def __init__(self, info: BaseInfo, adapter_info: AdapterInfo, *, dtype: torch.dtype, device: str) -> None:
        self.info, self.adapter_info = info, adapter_info
        try:
            self.base = _load(_local(info), dtype).to(device)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"model '{info.name}': cannot be loaded as a BlipDiffusionPipeline from safetensors: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        for part in (self.base.unet, self.base.vae, self.base.text_encoder, self.base.qformer):
            part.requires_grad_(False).eval()
        keep_rows_independent(self.base.vae)
        self.base.set_progress_bar_config(disable=True)
        # The photo's tokens leave less room for the prompt's.
        room = (
            self.base.text_encoder.config.max_position_embeddings - self.base.qformer.config.num_query_tokens
        )
        self.prompts = PromptEncoder(self.base.tokenizer, self.base.text_encoder, limit=room)

    @torch.no_grad()
    def encode_reference(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> Seen:
        """One photo a pass, so that a subject's tokens do not depend on its neighbours."""
        pixels = self.base.image_processor.preprocess(
            on_white(image),
            image_mean=self.base.config.mean,
            image_std=self.base.config.std,
            return_tensors="pt",
        )["pixel_values"].to(self.base.device, self.base.qformer.dtype)
        [tokens] = self.base.get_query_embeddings(pixels, [class_name])
        return Seen(tokens=tokens, class_name=class_name)

    @torch.no_grad()
    def __call__(
        self,
        prompt: Sequence[str],
        subject: Sequence[Seen],
        *,
        generator: Sequence[torch.Generator],
        negative_prompt: str = "",
        **settings: Unpack[SamplingSettings],
    ) -> PipelineOutput:
        """One image per prompt, each with its own subject and generator. settings: see `sampling.generate_batch`."""
        # The pipeline's own loop knows only schedulers without scaled input, and samples their noise without a seed.
        text = torch.cat([self._null_text(negative_prompt, len(prompt)), self._text(prompt, subject)])

        def predict(x: Tensor, timestep: Tensor) -> Tensor:
            prediction: Tensor = self.base.unet(x, timestep, text).sample
            return prediction

        return generate_batch(
            self.base, predict, generator, native_size=self.info.native_size, settings=settings
        )

    def _text(self, prompts: Sequence[str], subjects: Sequence[Seen]) -> Tensor:
        classes = [subject.class_name for subject in subjects]
        texts = [without_subject(prompt, name) for prompt, name in zip(prompts, classes, strict=True)]
        for text, name in zip(texts, classes, strict=True):
            self.prompts.check(f"a {name} {text}")
        written = self.base._build_prompt(texts, classes)  # repeated many times, then cut: the first is whole
        tokens = torch.stack([subject.tokens for subject in subjects])
        embedding: Tensor = self.base.encode_prompt(tokens, written)
        return embedding

    def _null_text(self, negative_prompt: str, count: int) -> Tensor:
        self.prompts.check(negative_prompt)
        length = self.base.text_encoder.config.max_position_embeddings
        inputs = self.base.tokenizer(
            negative_prompt, padding="max_length", max_length=length, return_tensors="pt"
        )
        embedding: Tensor = self.base.text_encoder(input_ids=inputs.input_ids.to(self.base.device))[0]
        return embedding.expand(count, -1, -1)


def without_subject(prompt: str, class_name: str) -> str:
    """The prompt without "a <class>" at its start, which the pipeline adds itself: "a dog in snow" -> "in snow"."""
    for article in ("a", "an"):
        start = f"{article} {class_name} ".lower()
        if class_name and prompt.lower().startswith(start):
            return prompt[len(start) :]
    return prompt


def _load(folder: Path, dtype: torch.dtype) -> BlipDiffusionPipeline:
    # Part by part, since model_index.json names their library as it was called when the folder was written.
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    options = {"use_safetensors": True, "dtype": dtype}
    config = Blip2Config.from_pretrained(folder / "qformer")
    if (folder / QFORMER_TOKENIZER).is_dir():  # else the model asks the hub for bert-base-uncased
        config.tokenizer = str(folder / QFORMER_TOKENIZER)
    qformer = Blip2QFormerModel.from_pretrained(folder / "qformer", config=config, **options)
    text_encoder = ContextCLIPTextModel.from_pretrained(folder / "text_encoder", **options)
    return BlipDiffusionPipeline(
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        text_encoder=restore_text_encoder(text_encoder),
        vae=AutoencoderKL.from_pretrained(folder / "vae", **options),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", **options),
        scheduler=PNDMScheduler.from_pretrained(folder / "scheduler"),
        qformer=restore_qformer(qformer),
        image_processor=BlipImageProcessor.from_pretrained(folder / "image_processor"),
        **{name: index[name] for name in ("ctx_begin_pos", "mean", "std")},
    )


def _local(info: BaseInfo) -> Path:
    """The folder on this machine, downloaded from the hub by one process for all where it must be."""
    if info.revision is None:
        return Path(info.location)

    def download() -> str:
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.txt", "*.safetensors"]
        return str(snapshot_download(info.location, revision=info.revision, allow_patterns=wanted))

    return Path(once_per_node(f"{info.location}@{info.revision} blip-diffusion", download))
