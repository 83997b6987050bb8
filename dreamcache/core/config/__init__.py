"""Settings as frozen values, each checked when it is constructed (`rules`). Parsed from YAML by `jobs.spec`.

Knows nothing of models, files or Ray; importing it is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, Lt

from dreamcache.core.config.fields import AtLeastOne, GroundVectors, Share, Side, Timestep
from dreamcache.core.config.rules import RuleText, Settings, require
from dreamcache.core.config.savings import WHOLE, EverySo, Savings
from dreamcache.core.errors import SpecError
from dreamcache.core.locations import ModelRef

Segmenter = Literal["auto", "alpha", "file", "grounded-sam", "lang-sam", "u2net", "grabcut", "none"]
Guidance = Literal["combined", "joint"]
Scheduler = Literal["ddim", "dpmpp_2m", "euler", "euler_a", "unipc", "pndm", "heun", "lcm", "tcd"]
DType = Literal["float32", "bfloat16", "float16"]
ModelDType = Literal["auto", "float32", "bfloat16", "float16"]
StoredDType = Literal["auto", "float32", "bfloat16", "float16", "int8", "int5"]
"""Of stored features; int8 and int5 are codes, a group of which shares its scale (`storage.packed`)."""

CompileMode = Literal["off", "default", "max-autotune"]
Offload = Literal["none", "model", "sequential"]
Quantize = Literal["none", "int8", "nf4"]
IntegrationName = Literal["spatial_concat", "spatial_sum", "textual_sum", "decoupled"]
FeatureSource = Literal["own", "middle"]

SEGMENTER_MODELS = ("grounding-dino", "sam", "lang-sam", "u2net")
Margin = Annotated[float, Ge(0), Lt(0.5), RuleText("from 0 to less than 0.5 of the side")]
DEFAULT_STEPS = 50
"""Of a family that recommends no number."""

DEFAULT_SCALES: Mapping[str, float] = {"text_scale": 7.5, "image_scale": 0.4}
"""The paper's, for an adapter that recommends none. These are the settings that an adapter may recommend."""

SAVINGS: Mapping[str, Any] = {name: getattr(Savings(), name) for name in Savings.__dataclass_fields__}
"""The settings of `generation` that leave work out, with the values that leave out nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeSettings(Settings):
    """How a reference becomes features. Every field is part of the cache key.

    size: side in pixels of the square the subject is placed on; 0 takes the base model's own.
    places: module names of spatial transformers; empty takes the adapter's.
    timestep: of the noise added to the reference latent; the paper's is 1, the least.
    text: prompt of the encoding pass; the paper's is the null text. {class_name} is the subject's.
    posterior: mean of the VAE posterior ("mode"), or one seeded draw ("sample").
    segmenter_models: other weights than a segmenter's own, {"sam": "folder or hub-id@revision"}; {"u2net": "file"}.
    segmenter_id: of u2net's file, found where the job is planned; "" keeps `auto` from using one.
    compute_dtype: of the pass.
    dtype: of the stored numbers; auto is int8 for hidden states of a U-Net, float16 for latents. int8 and int5 are
    codes, a group of which shares its scale.
    ground_vectors: how many vectors stand for the positions around the subject; 0 stores each position.
    reader: sha256 of the weights that read references, "" for the base's; always the adapter's (see `resolved`).
    """

    size: Side = 0
    places: tuple[str, ...] = ()
    timestep: Timestep = 1
    text: str = ""
    noise_seed: int = 0
    posterior: Literal["mode", "sample"] = "mode"
    compute_dtype: DType = "float32"
    dtype: StoredDType = "auto"
    segmenter: Segmenter = "auto"
    segmenter_models: Mapping[str, ModelRef] = field(default_factory=dict)
    on_no_mask: Literal["whole_image", "fail"] = "whole_image"
    margin: Margin = 0.05
    reader: str = ""
    segmenter_id: str | None = None
    ground_vectors: GroundVectors = 0

    def check(self) -> None:
        require(
            "{caption}" not in self.text,
            "text",
            "without {caption} (only a training sample has one)",
            self.text,
        )
        check_segmenter_models(self.segmenter_models)
        require(
            self.ground_vectors == 0 or self.dtype in ("auto", "int8", "int5"),
            "ground_vectors",
            "0, or dtype auto, int8 or int5",
            self.dtype,
        )

    def as_dict(self) -> dict[str, Any]:
        # Without these, keys are those of releases that knew none.
        values = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("reader", "segmenter_id", "ground_vectors") or value
        }
        # The file's content counts, not where it lies.
        values["segmenter_models"] = {
            name: model for name, model in self.segmenter_models.items() if name != "u2net"
        }
        return values

    def text_for(self, class_name: str) -> str:
        """The prompt of the encoding pass of a subject of this class."""
        return self.text.replace("{class_name}", class_name)

    def with_floats(self) -> EncodeSettings:
        """Of a family that stores no hidden states of a U-Net: auto is float16. Raises SpecError for codes."""
        if self.dtype in ("int8", "int5") or self.ground_vectors:
            name, rule = (
                ("ground_vectors", "0") if self.ground_vectors else ("dtype", "auto or a float dtype")
            )
            raise SpecError(
                f"reference.{name}: must be {rule} for this model, of which no hidden states are stored, got "
                f"{getattr(self, name)!r}; leave the key out"
            )
        return replace(self, dtype="float16") if self.dtype == "auto" else self

    def resolved(
        self, native_size: int, places: tuple[str, ...], compute_dtype: DType, reader: str = ""
    ) -> EncodeSettings:
        """With the base's size, the adapter's places and reader, and the dtype filled in, as in the cache key."""
        return replace(
            self,
            size=self.size or native_size,
            places=self.places or places,
            compute_dtype=compute_dtype,
            dtype="int8" if self.dtype == "auto" else self.dtype,
            reader=reader,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationSettings(Settings):
    """How images are generated. Every field is part of the item id.

    text_scale: weight of the text; in joint guidance the weight of both conditions.
    image_scale: weight of the reference in combined guidance (docs/method.md section 3).
    num_inference_steps: of the scheduler. None for steps and scales: see `resolved`.
    strength: 1 is the paper's injection, 0 the base model's block, between them a blend.
    height, width: pixels, multiples of 8; 0 takes the base model's own.
    reuse_encoder, reuse_guidance, guidance_interval: what steps leave out (docs/speed.md); 1, 1 and [0, 1] is nothing.
    """

    guidance: Guidance = "combined"
    text_scale: float | None = None
    image_scale: float | None = None
    strength: Share = 1.0
    num_inference_steps: Annotated[int, Interval(ge=1, le=999)] | None = None
    scheduler: Scheduler = "ddim"
    height: Side = 0
    width: Side = 0
    negative_prompt: str = ""
    reuse_encoder: EverySo = 1
    reuse_guidance: EverySo = 1
    guidance_interval: tuple[Share, Share] = WHOLE

    def check(self) -> None:
        self.savings.check()

    @property
    def savings(self) -> Savings:
        """What steps leave out."""
        return Savings(**{name: getattr(self, name) for name in SAVINGS})

    def resolved(self, recommended: Mapping[str, float]) -> GenerationSettings:
        """With steps and scales that are not set filled in: those recommended for the model, else the defaults."""
        values = {"num_inference_steps": DEFAULT_STEPS, **DEFAULT_SCALES, **recommended}
        chosen: dict[str, Any] = {
            name: value for name, value in values.items() if getattr(self, name) is None
        }
        return replace(self, **chosen)

    @property
    def steps(self) -> int:
        """num_inference_steps of resolved settings. Raises ValueError for others."""
        require(
            self.num_inference_steps is not None, "num_inference_steps", "resolved before it is used", None
        )
        assert self.num_inference_steps is not None
        return self.num_inference_steps

    @property
    def scales(self) -> tuple[float, float]:
        """(text_scale, image_scale) of resolved settings. Raises ValueError for others."""
        for name in DEFAULT_SCALES:
            require(getattr(self, name) is not None, name, "resolved before it enters an id", None)
        assert self.text_scale is not None and self.image_scale is not None
        return self.text_scale, self.image_scale

    def as_dict(self) -> dict[str, Any]:
        """Of resolved settings, as they enter the item id. Raises ValueError for others."""
        text_scale, image_scale = self.scales
        own = {"num_inference_steps": self.steps, "text_scale": text_scale, "image_scale": image_scale}
        # Without savings, ids are those of releases that knew none.
        unused = {name for name, value in SAVINGS.items() if getattr(self, name) == value}
        return {name: value for name, value in {**asdict(self), **own}.items() if name not in unused}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat(Settings):
    """File format of the images; quality is for jpeg and webp (1-100)."""

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: Annotated[int, Interval(ge=1, le=100)] = 92

    @property
    def extension(self) -> str:
        return {"png": "png", "jpeg": "jpg", "webp": "webp"}[self.format]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits(Settings):
    """What a catalog photo may be; checked in the header, before any pixel is decoded."""

    max_pixels: AtLeastOne = 50_000_000
    min_side: AtLeastOne = 8
    max_bytes: AtLeastOne = 64 * 1024 * 1024


def check_segmenter_models(models: Mapping[str, str]) -> None:
    """Raises ValueError for a name that is none of SEGMENTER_MODELS."""
    unknown = sorted(set(models) - set(SEGMENTER_MODELS))
    require(not unknown, "segmenter_models", f"of {', '.join(SEGMENTER_MODELS)}", unknown)
