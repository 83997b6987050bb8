"""A photo to the latents that are stored: as its pipeline does it, and nothing of prompt or target in it.

photo (cut out on white, or as it is) -> area of at most size x size, sides a multiple of the patch -> VAE mean
  -> 2 x 2 patches as channels -> normalised by the VAE's batch statistics -> [C, h, w]
"""

from __future__ import annotations

import torch
from diffusers import Flux2KleinKVPipeline
from PIL import Image
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ImageError
from dreamcache.core.images import on_white
from dreamcache.core.records import cache_key
from dreamcache.inference.encode import Encoded, segmented
from dreamcache.inference.families.flux2_klein.describe import LATENTS, sizes_of
from dreamcache.model.features import SubjectFeatures
from dreamcache.model.preprocess import check_visible, packshot
from dreamcache.segment import SegmenterSet
from dreamcache.storage.feature_check import Expected
from dreamcache.storage.models.base import BaseInfo

MIN_SIDE = 64
MAX_RATIO = 8


class KleinEncoder:
    """Encodes references with one base and one group of resolved settings."""

    def __init__(self, base: Flux2KleinKVPipeline, info: BaseInfo, settings: EncodeSettings) -> None:
        self.base, self.info, self.settings = base, info, settings
        self.segmenters = SegmenterSet(settings.segmenter_models, device=str(base.device))

    def encode(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        reference_id: str | None = None,
        where: str = "reference",
    ) -> Encoded:
        """Encodes one upright RGB(A) photo. Raises ImageError for one that is too small or too long, or `no_mask`."""
        settings = self.settings
        check_visible(image, where=where)
        picture, note = self._picture(image, mask, class_name, where)
        if reference_id is None:
            reference_id = ids.of_values("picture", pixels=ids.of_bytes(picture.tobytes()), size=picture.size)
        features = SubjectFeatures(
            cache_key=cache_key(reference_id, self.info.fingerprint, settings, class_name),
            reference_id=reference_id,
            base_fingerprint=self.info.fingerprint,
            maps={LATENTS: self._latents(picture)},
            settings=settings.as_dict(),
            segment_note=note,
        )
        return Encoded(features=features, packshot=picture)

    def expected(self, reference_id: str) -> Expected:
        """What stored latents of that reference must be; their grid is the photo's own."""
        sizes = sizes_of(self.info)
        area = sizes.positions(max(self.settings.size, MIN_SIDE), max(self.settings.size, MIN_SIDE))
        return Expected(
            reference_id=reference_id, settings=self.settings, most={LATENTS: (sizes.channels, area)}
        )

    def _picture(
        self, image: Image.Image, mask: Image.Image | None, class_name: str, where: str
    ) -> tuple[Image.Image, str | None]:
        settings = self.settings
        if settings.segmenter == "none" and mask is None:
            _check_shape(image.size, where)
            return on_white(image), None
        segment = segmented(image, mask, settings, self.segmenters, class_name=class_name, where=where)
        if segment.mask is None:
            _check_shape(image.size, where)
            return on_white(image), segment.reason
        return packshot(image, segment.mask, size=settings.size, margin=settings.margin), None

    @torch.no_grad()
    def _latents(self, picture: Image.Image) -> Tensor:
        base, processor = self.base, self.base.image_processor
        area = self.settings.size**2
        if picture.width * picture.height > area:
            picture = processor._resize_to_target_area(picture, area)
        multiple = 2 * base.vae_scale_factor
        width, height = (max(multiple, side // multiple * multiple) for side in picture.size)
        pixels = processor.preprocess(picture, height=height, width=width, resize_mode="crop")
        latents: Tensor = base._encode_vae_image(pixels.to(base._execution_device, base.vae.dtype), None)
        stored = latents[0].to("cpu", getattr(torch, self.settings.dtype)).contiguous()
        base.maybe_free_model_hooks()
        return stored


def _check_shape(size: tuple[int, int], where: str) -> None:
    """What the model's own pipeline accepts."""
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageError(
            f"{where}: each side must have at least {MIN_SIDE} pixels for a FLUX.2 klein model, got {width}x{height}; "
            "use a larger photo",
            code="too_small",
        )
    if max(size) > MAX_RATIO * min(size):
        raise ImageError(
            f"{where}: a side may be at most {MAX_RATIO} times the other for a FLUX.2 klein model, got "
            f"{width}x{height}; crop it",
            code="bad_shape",
        )
