"""What families share whose bases read references by their own attention: encoding of photos, and batches of rows.

    photo -> cut out on white, or as it is -> Maps of the family -> SubjectFeatures
    prompts, subjects, generators -> parts of rows that can be stacked -> images of the family, in order

Knows the shape of a batch and of a photo; a family brings what it stores and how it denoises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ImageError
from dreamcache.core.records import cache_key
from dreamcache.inference.encode import Encoded, segmented
from dreamcache.inference.families.reference_kv import ReferenceKVFamily
from dreamcache.inference.families.rows import equal_parts
from dreamcache.inference.pipeline import PipelineOutput
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.features import Features, SubjectFeatures
from dreamcache.model.preprocess import check_visible, packshot
from dreamcache.segment import SegmenterSet
from dreamcache.storage.feature_check import Expected
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo

MAX_RATIO = 8
"""Of a photo's sides."""

Images = list[Image.Image] | NDArray[np.float32] | Tensor
"""As output_type says: "pil", "np" [B, H, W, 3] in 0..1, or "pt" [B, 3, H, W] in 0..1."""


class PhotoEncoder(ABC):
    """Encodes references with one base and one group of resolved settings.

    family: whose title is in messages. min_side: the least side of a photo, in pixels.
    """

    family: ClassVar[ReferenceKVFamily]
    min_side: ClassVar[int] = 1

    def __init__(self, base: DiffusionPipeline, info: BaseInfo, settings: EncodeSettings) -> None:
        """base: the family's diffusers pipeline."""
        self.base, self.info, self.settings = base, info, settings
        self.segmenters = SegmenterSet(settings.segmenter_models, device=str(base._execution_device))

    @abstractmethod
    def expected(self, reference_id: str) -> Expected:
        """What stored features of that reference must be; their grid is the photo's own."""

    @abstractmethod
    def maps(self, picture: Image.Image, read: Image.Image) -> Mapping[str, Tensor]:
        """What is stored of a photo, by place. read: what `as_read` returned."""

    def whole(self, image: Image.Image) -> Image.Image:
        """A photo that nothing is cut out of, as it is encoded."""
        return image

    def as_read(self, picture: Image.Image) -> Image.Image:
        """The picture whose pixels name a photo that has no id."""
        return picture

    def encode(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        reference_id: str | None = None,
        where: str = "reference",
    ) -> Encoded:
        """Encodes one upright RGB(A) photo.

        Raises ImageError for one of a shape that the model cannot read, or `no_mask`.
        """
        settings = self.settings
        check_visible(image, where=where)
        picture, note = self._picture(image, mask, class_name, where)
        read = self.as_read(picture)
        if reference_id is None:
            reference_id = ids.of_values("picture", pixels=ids.of_bytes(read.tobytes()), size=read.size)
        features = SubjectFeatures(
            cache_key=cache_key(reference_id, self.info.fingerprint, settings, class_name),
            reference_id=reference_id,
            base_fingerprint=self.info.fingerprint,
            maps=self.maps(picture, read),
            settings=settings.as_dict(),
            segment_note=note,
        )
        return Encoded(features=features, packshot=picture)

    def _picture(
        self, image: Image.Image, mask: Image.Image | None, class_name: str, where: str
    ) -> tuple[Image.Image, str | None]:
        settings, note = self.settings, None
        if settings.segmenter != "none" or mask is not None:
            segment = segmented(image, mask, settings, self.segmenters, class_name=class_name, where=where)
            if segment.mask is not None:
                return packshot(image, segment.mask, size=settings.size, margin=settings.margin), None
            note = segment.reason
        self._check_shape(image.size, where)
        return self.whole(image), note

    def _check_shape(self, size: tuple[int, int], where: str) -> None:
        """What the model's own pipeline accepts."""
        width, height = size
        if min(size) < self.min_side:
            raise ImageError(
                f"{where}: each side must have at least {self.min_side} pixels for a {self.family.title} model, got "
                f"{width}x{height}; use a larger photo",
                code="too_small",
            )
        if max(size) > MAX_RATIO * min(size):
            raise ImageError(
                f"{where}: a side may be at most {MAX_RATIO} times the other for a {self.family.title} model, got "
                f"{width}x{height}; crop it",
                code="bad_shape",
            )


class ReferencePipeline(ABC):
    """A base on its device. kind: its encoder."""

    kind: ClassVar[type[PhotoEncoder]]

    def __init__(self, info: BaseInfo, adapter_info: AdapterInfo, base: DiffusionPipeline) -> None:
        """base: the family's diffusers pipeline."""
        self.info, self.adapter_info, self.base = info, adapter_info, base

    def encoder(self, settings: EncodeSettings) -> PhotoEncoder:
        """For settings as the plan resolved them."""
        return self.kind(self.base, self.info, settings)

    def encode_reference(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> SubjectFeatures:
        """What is stored of one upright photo."""
        dtype: Any = str(self.base.dtype).removeprefix("torch.")
        family = self.kind.family
        resolved = family.encoding(settings or EncodeSettings(), self.info, self.adapter_info, dtype)
        return self.encoder(resolved).encode(image, mask, class_name=class_name).features

    @torch.no_grad()
    def __call__(
        self,
        prompt: Sequence[str],
        subject: Sequence[Features],
        *,
        negative_prompt: str = "",
        generator: Sequence[torch.Generator],
        **settings: Unpack[SamplingSettings],
    ) -> PipelineOutput:
        """One image per prompt. A subject is one photo, or a `PhotoSet` in the order of the pipeline's `image`.

        Of `settings`, num_inference_steps, height, width and output_type are read.
        """
        noise = [self.noise(settings, one) for one in generator]
        pixels: list[Any] = [None] * len(prompt)
        for rows, filled in equal_parts([self.stacks_by(one) for one in subject]):
            images = self.generate(
                [prompt[row] for row in filled],
                [subject[row] for row in filled],
                torch.cat([noise[row] for row in filled]),
                settings,
            )
            for position, row in enumerate(rows):
                pixels[row] = images[position : position + 1]
        finished = self.finished(torch.cat(pixels).float(), settings.get("output_type", "pil"))
        self.base.maybe_free_model_hooks()
        return PipelineOutput(images=finished)

    @abstractmethod
    def noise(self, settings: SamplingSettings, generator: torch.Generator) -> Tensor:
        """Of one row, in float32 on the CPU for every device, sampled in the layout of the base's own pipeline."""

    @abstractmethod
    def stacks_by(self, subject: Features) -> Hashable:
        """What rows must share to be stacked."""

    @abstractmethod
    def generate(
        self, prompts: list[str], subjects: list[Features], noise: Tensor, settings: SamplingSettings
    ) -> Tensor:
        """Pixels [B, channels, H, W] in -1..1 of rows that stack."""

    def finished(self, pixels: Tensor, output_type: str) -> Images:
        """Images of float32 pixels."""
        images: Images = self.base.image_processor.postprocess(pixels, output_type=output_type)
        return images
