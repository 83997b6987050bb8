"""Encoders of images and texts to unit vectors: CLIP, DINO and DINOv2, as transformers has them.

Knows three model classes and their processors; knows nothing of subjects or metrics. Safetensors only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, Dinov2Model, ViTModel

from dreamcache.core.errors import DreamCacheError, ModelError
from dreamcache.storage.models.encoders import locate

Vectors = NDArray[np.float32]
"""[n, width], each row of length 1."""


class ImageEncoder(Protocol):
    """Pictures in, unit vectors out."""

    def images(self, pictures: Sequence[Image.Image]) -> Vectors: ...


class ClipEncoder:
    """CLIP's image and text embeddings. Raises ModelError when the model cannot be loaded."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        self.device = device
        self.model = _load(CLIPModel, name, device)
        self.processor = _processor(name)
        self.tokenizer = _read(lambda s, r: AutoTokenizer.from_pretrained(s, revision=r), name)

    @torch.no_grad()
    def images(self, pictures: Sequence[Image.Image]) -> Vectors:
        pixels = _pixels(self.processor, pictures, self.device)
        return _unit(self.model.visual_projection(self.model.vision_model(pixels).pooler_output))

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Vectors:
        """Raises DreamCacheError `prompt_too_long`: a truncated prompt would be scored as another one."""
        tokens = self.tokenizer(list(prompts), padding=True, return_tensors="pt").to(self.device)
        limit = self.model.config.text_config.max_position_embeddings
        if tokens.input_ids.shape[1] > limit:
            raise DreamCacheError(
                f"prompt '{max(prompts, key=len)[:60]}...': CLIP reads at most {limit} tokens, "
                f"got {tokens.input_ids.shape[1]}; shorten it",
                code="prompt_too_long",
            )
        output = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return _unit(self.model.text_projection(output.pooler_output))


class DinoEncoder:
    """The class token of the last layer: DINO (a ViTModel) or DINOv2 (a Dinov2Model)."""

    def __init__(
        self, name: str, device: str = "cpu", *, kind: type[ViTModel] | type[Dinov2Model] = ViTModel
    ) -> None:
        self.device = device
        # DINO has no pooling layer; transformers would add one with random weights.
        extra = {"add_pooling_layer": False} if kind is ViTModel else {}
        self.model = _load(kind, name, device, **extra)
        self.processor = _processor(name)

    @torch.no_grad()
    def images(self, pictures: Sequence[Image.Image]) -> Vectors:
        pixels = _pixels(self.processor, pictures, self.device)
        return _unit(self.model(pixel_values=pixels).last_hidden_state[:, 0])


def load_encoders(models: dict[str, str], device: str = "cpu") -> dict[str, ImageEncoder]:
    """Encoders by the names of `MetricSettings.encoders`."""
    encoders: dict[str, ImageEncoder] = {}
    for kind, name in models.items():
        if kind == "clip":
            encoders[kind] = ClipEncoder(name, device)
        else:
            encoders[kind] = DinoEncoder(name, device, kind=ViTModel if kind == "dino" else Dinov2Model)
    return encoders


def _load(kind: type[Any], name: str, device: str, **extra: Any) -> Any:
    model = _read(
        lambda source, revision: kind.from_pretrained(
            source, revision=revision, use_safetensors=True, dtype=torch.float32, **extra
        ),
        name,
    )
    return model.eval().requires_grad_(False).to(device)


def _processor(name: str) -> Any:
    # Named, because transformers would use torchvision where it is installed: scores would differ by machine.
    return _read(
        lambda source, revision: AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil"),
        name,
    )


def _read(load: Callable[[str, str | None], Any], name: str) -> Any:
    model = locate(name)
    try:
        return load(model.location, model.revision)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"metrics: model '{name}': must be a folder or a hub id with safetensors and its processor, "
            f"got {' '.join(str(error).split())[:300]}; fetch it first and give its folder"
        ) from error


def _pixels(processor: Any, pictures: Sequence[Image.Image], device: str) -> Tensor:
    # One by one: processors stack, and pictures of one batch may have different sizes.
    tensors = [processor(images=one.convert("RGB"), return_tensors="pt")["pixel_values"] for one in pictures]
    pixels: Tensor = torch.cat(tensors).to(device)
    return pixels


def _unit(vectors: Tensor) -> Vectors:
    unit: Vectors = functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit
