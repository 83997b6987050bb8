"""Settings as frozen values, each checked when it is made. Parsed from YAML by `jobs.spec`.

Knows nothing of models, files or Ray; importing it is cheap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Segmenter = Literal["auto", "alpha", "file", "grounded-sam", "lang-sam", "grabcut", "none"]
Guidance = Literal["combined", "joint"]
Scheduler = Literal["ddim", "dpmpp_2m", "euler", "euler_a", "unipc", "pndm", "heun"]
DType = Literal["float32", "bfloat16", "float16"]
IntegrationName = Literal["spatial_concat", "spatial_sum", "textual_sum", "decoupled"]
FeatureSource = Literal["own", "middle"]

SEGMENTER_MODELS = ("grounding-dino", "sam", "lang-sam")
FORBID_UNKNOWN = {"extra": "forbid"}
DEFAULT_SCALES: Mapping[str, float] = {"text_scale": 7.5, "image_scale": 0.4}
"""The paper's, for an adapter that recommends none. These are the settings that an adapter may recommend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeSettings:
    """How a reference becomes features. Every field is part of the cache key.

    size: side in pixels of the square the subject is placed on; 0 takes the base model's own.
    places: module names of spatial transformers; empty takes the adapter's.
    timestep: of the noise added to the reference latent; the paper's is 1, the least.
    text: prompt of the encoding pass; the paper's is the null text. {class_name} is the subject's.
    posterior: mean of the VAE posterior ("mode"), or one seeded draw ("sample").
    segmenter_models: other weights than a segmenter's own, {"sam": "folder or hub-id@revision"}.
    compute_dtype, dtype: of the pass, and of the stored numbers.
    reader: sha256 of the weights that read references, "" for the base's; always the adapter's (see `resolved`).
    """

    size: int = 0
    places: tuple[str, ...] = ()
    timestep: int = 1
    text: str = ""
    noise_seed: int = 0
    posterior: Literal["mode", "sample"] = "mode"
    compute_dtype: DType = "float32"
    dtype: DType = "float16"
    segmenter: Segmenter = "auto"
    segmenter_models: Mapping[str, str] = field(default_factory=dict)
    on_no_mask: Literal["whole_image", "fail"] = "whole_image"
    margin: float = 0.05
    reader: str = ""

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        _check(0 <= self.timestep < 1000, "timestep", "from 0 to 999", self.timestep)
        _check(
            "{caption}" not in self.text,
            "text",
            "without {caption} (only a training sample has one)",
            self.text,
        )
        _check(self.size >= 0 and self.size % 8 == 0, "size", "0 or a multiple of 8 pixels", self.size)
        unknown = sorted(set(self.segmenter_models) - set(SEGMENTER_MODELS))
        _check(not unknown, "segmenter_models", f"of {', '.join(SEGMENTER_MODELS)}", unknown)
        _check(0 <= self.margin < 0.5, "margin", "from 0 to 0.5 of the side", self.margin)

    def as_dict(self) -> dict[str, Any]:
        # Without a reader of its own, keys are those of releases that knew none.
        return {name: value for name, value in asdict(self).items() if name != "reader" or value}

    def text_for(self, class_name: str) -> str:
        """The prompt of the encoding pass of a subject of this class."""
        return self.text.replace("{class_name}", class_name)

    def resolved(
        self, native_size: int, places: tuple[str, ...], compute_dtype: DType, reader: str = ""
    ) -> EncodeSettings:
        """With the base's own size and the adapter's places and reader filled in, as they enter the cache key."""
        return replace(
            self,
            size=self.size or native_size,
            places=self.places or places,
            compute_dtype=compute_dtype,
            reader=reader,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationSettings:
    """How images are drawn. Every field is part of the item id.

    text_scale: weight of the text; in joint guidance the weight of both conditions.
    image_scale: weight of the reference in combined guidance (METHOD section 3). None for both: see `resolved`.
    strength: 1 is the paper's injection, 0 the base model's block, between them a blend.
    height, width: pixels, multiples of 8; 0 takes the base model's own.
    """

    guidance: Guidance = "combined"
    text_scale: float | None = None
    image_scale: float | None = None
    strength: float = 1.0
    num_inference_steps: int = 50
    scheduler: Scheduler = "ddim"
    height: int = 0
    width: int = 0
    negative_prompt: str = ""

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        _check(
            1 <= self.num_inference_steps <= 999,
            "num_inference_steps",
            "from 1 to 999",
            self.num_inference_steps,
        )
        for name in ("text_scale", "image_scale"):
            value = getattr(self, name)
            _check(value is None or math.isfinite(value), name, "a finite number", value)
        _check(0 <= self.strength <= 1, "strength", "from 0 to 1", self.strength)
        for name in ("height", "width"):
            side = getattr(self, name)
            _check(side >= 0 and side % 8 == 0, name, "0 or a multiple of 8 pixels", side)

    def resolved(self, recommended: Mapping[str, float]) -> GenerationSettings:
        """With scales that are not set filled in: the adapter's recommendation, else `DEFAULT_SCALES`."""
        scales = {**DEFAULT_SCALES, **recommended}
        chosen = {name: value for name, value in scales.items() if getattr(self, name) is None}
        return replace(self, **chosen)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """Of resolved settings, as they enter the item id. Raises ValueError for others."""
        for name in DEFAULT_SCALES:
            _check(getattr(self, name) is not None, name, "resolved before it enters an id", None)
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat:
    """File format of the images; quality is for jpeg and webp (1-100)."""

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int = 92

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        _check(1 <= self.quality <= 100, "quality", "from 1 to 100", self.quality)

    @property
    def extension(self) -> str:
        return {"png": "png", "jpeg": "jpg", "webp": "webp"}[self.format]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What a catalog photo may be; checked in the header, before any pixel is decoded."""

    max_pixels: int = 50_000_000
    min_side: int = 8
    max_bytes: int = 64 * 1024 * 1024

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        for name in ("max_pixels", "min_side", "max_bytes"):
            _check(getattr(self, name) > 0, name, "more than 0", getattr(self, name))


def _check(holds: bool, name: str, rule: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {got!r}")
