"""What families share whose bases read references by their own attention, without torch.

Such a base takes no adapter. What of a reference is stored depends on the photo alone; the keys and values that follow
from it depend on neither prompt, noise, timestep nor target size, so a worker computes them once a subject. Knows no
model; `reference_pipeline` has the part with torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from dreamcache.core.config import DType, EncodeSettings, GenerationSettings, Offload
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.families.family import Family, Passes, Photos
from dreamcache.inference.families.sd_sizes import DEVICE_BYTES, HEADROOM, ITEM_BYTES
from dreamcache.inference.families.weight_bytes import counted, on_device
from dreamcache.segment.u2net_file import with_segmenter_id
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


def refused_settings(*, guidance: str, reading: str) -> dict[str, str]:
    """Settings without a meaning, each with the reason. guidance: why there is none; reading: who reads a reference."""
    return {
        "generation.guidance": guidance,
        "generation.text_scale": guidance,
        "generation.image_scale": "the reference is read by the model's own attention, which has no scale",
        "generation.strength": "no adapter's injection is blended",
        "generation.negative_prompt": guidance,
        "generation.scheduler": "the model's own flow-matching scheduler is used",
        "reference.places": reading,
        "reference.timestep": "keys and values of a reference are computed at timestep 0",
        "reference.text": reading,
        "reference.noise_seed": "no noise is added to a reference",
        "reference.posterior": "the mean of the VAE's posterior is used",
    }


class ReferenceKVFamily(Family):
    """Reads width, height and num_inference_steps of `generation`.

    name: of the family, in item ids. title: of a model, in messages. weighted: parts with weights. stored: places
    of what is stored of a photo.
    """

    method: ClassVar[str] = "dreamcache"
    caches_features: ClassVar[bool] = True
    photos: ClassVar[Photos] = "sequence"
    generation: ClassVar[frozenset[str]] = frozenset({"num_inference_steps", "height", "width"})
    refused: ClassVar[Mapping[str, str]]
    name: ClassVar[str]
    title: ClassVar[str]
    weighted: ClassVar[tuple[str, ...]]
    stored: ClassVar[tuple[str, ...]]

    @abstractmethod
    def steps(self, base: BaseInfo) -> int:
        """Recommended for this base."""

    @abstractmethod
    def multiple(self, base: BaseInfo) -> int:
        """Of which each side of an image must be, in pixels."""

    @abstractmethod
    def worker_numbers(self, base: BaseInfo, height: int, width: int) -> tuple[int, int]:
        """(keys and values of one reference at its native size, activations of an image of height x width pixels)."""

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """The family alone, with the number of steps that the base takes."""
        if adapter is not None:
            raise ModelError(
                f"model.adapter: a {self.title} model reads references by itself and takes no adapter, got "
                f"'{adapter}'; leave the key out"
            )
        info = self.method_info(base, base.location, {"family": self.name})
        return replace(info, recommended=(("num_inference_steps", self.steps(base)),))

    def encoding(
        self, settings: EncodeSettings, base: BaseInfo, adapter: AdapterInfo, dtype: DType
    ) -> EncodeSettings:
        """size: of the square whose area bounds a photo's. Segmenter `auto` is the photo as it is."""
        resolved = replace(
            settings.with_floats(),
            size=settings.size or base.native_size,
            places=self.stored,
            timestep=0,
            compute_dtype=dtype,
            segmenter="none" if settings.segmenter == "auto" else settings.segmenter,
        )
        return with_segmenter_id(resolved)

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:
        """Raises SpecError for a size that has no whole number of tokens."""
        multiple = self.multiple(base)
        for name in ("height", "width"):
            if getattr(settings, name) % multiple:
                raise SpecError(
                    f"generation.{name}: must be a multiple of {multiple} for model '{base.name}', "
                    f"got {getattr(settings, name)}; choose such a size"
                )

    def passes_per_image(self, settings: GenerationSettings) -> Passes:
        """Exact: one pass of the transformer a step."""
        return Passes(encoder_halves=settings.steps, decoder_halves=settings.steps)

    def worker_bytes(
        self,
        base: BaseInfo,
        adapter: AdapterInfo,
        settings: GenerationSettings,
        *,
        batch_size: int,
        dtype: DType,
        on_gpu: bool,
        offload: Offload = "none",
        overlaps_decoding: bool = False,
    ) -> int:
        """An estimate: weights by count, keys and values of one reference a row, activations of the target."""
        parts = counted(base, self.weighted)
        width_of = dict.fromkeys(parts, ITEM_BYTES[dtype])
        weights = on_device(parts, base, self.quantized, width_of, offload)
        height, width = settings.height or base.native_size, settings.width or base.native_size
        keys_values, activations = self.worker_numbers(base, height, width)
        numbers = keys_values + batch_size * HEADROOM * (activations + keys_values)
        return int(weights + numbers * ITEM_BYTES[dtype]) + (DEVICE_BYTES if on_gpu else 0)
