"""Settings of a synthesis as frozen values, checked when constructed. Parsed from YAML by `jobs.synthesize.spec`.

Defaults run offline; the paper's choice (docs/method.md section 5) is named beside each. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge

from dreamcache.core.config import DType, ImageFormat, Segmenter, check_segmenter_models
from dreamcache.core.config.fields import (
    AtLeastOne,
    BatchSize,
    Positive,
    PositiveShare,
    Samples,
    Share,
    ShareBelowOne,
    Side,
    ZeroOrMore,
)
from dreamcache.core.config.rules import Settings, require
from dreamcache.core.locations import ModelRef

PAPER_LLM = "meta-llama/Llama-3.1-8B-Instruct"
PAPER_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
PAPER_GUIDANCE = 3.5
PAPER_STEPS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionSettings(Settings):
    """Where captions come from: "templates" with a vocabulary, or "llm", an instruction-tuned model (the paper's).

    count: captions generated before the filter. vocabulary: "mini" is what the embedded model knows, "general" more.
    categories, contexts: own vocabulary instead, {"kitchen": [mug, teapot]} and ["on a shelf"].
    model: a folder or hub id with `revision`; None takes the paper's. prompt: own instruction with {count} and
    {category}. per_request: captions of one request. batch_size: requests at once. max_rounds: how often requests
    are sent again where answers held fewer captions than requested.
    """

    backend: Literal["templates", "llm"] = "templates"
    count: AtLeastOne = 1000
    vocabulary: Literal["mini", "general"] = "mini"
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contexts: tuple[str, ...] = ()
    model: ModelRef | None = None
    revision: str | None = None
    dtype: DType = "float32"
    prompt: str | None = None
    per_request: AtLeastOne = 20
    batch_size: BatchSize = 8
    max_new_tokens: AtLeastOne = 1500
    temperature: Positive = 1.0
    top_p: PositiveShare = 0.95
    max_rounds: AtLeastOne = 3

    def check(self) -> None:
        empty = sorted(name for name, objects in self.categories.items() if not objects)
        require(not empty, "categories", "lists of at least one object", empty)
        if self.prompt is not None:
            missing = [key for key in ("{count}", "{category}") if key not in self.prompt]
            require(not missing, "prompt", "a text with {count} and {category}", self.prompt)

    def identity(self) -> dict[str, Any]:
        """All that decides a caption: not how many there are, so more can be added later."""
        rest = asdict(self)
        for name in ("count", "max_rounds"):
            del rest[name]
        return rest


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterSettings(Settings):
    """Which captions are dropped. similarity: Jaccard of word pairs from which two captions are near duplicates.

    max_per_object, max_per_category: 0 for no cap. words: fewest and most words of a caption.
    """

    similarity: PositiveShare = 0.8
    num_permutations: Annotated[int, Ge(16)] = 128
    max_per_object: ZeroOrMore = 0
    max_per_category: ZeroOrMore = 0
    min_words: AtLeastOne = 3
    max_words: AtLeastOne = 60

    def check(self) -> None:
        require(self.min_words <= self.max_words, "min_words", "from 1 to max_words", self.min_words)


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSettings(Settings):
    """What generates the images: "sdxl" (the paper's), or "stable-diffusion", whose default is the embedded model.

    model: `mini`, a diffusers folder or a hub id with `revision`; None takes the backend's own. height, width: pixels,
    0 takes the model's own. samples: images of each caption. part_size: images committed together, lost when a worker
    dies.
    """

    backend: Literal["stable-diffusion", "sdxl"] = "stable-diffusion"
    model: ModelRef | None = None
    revision: str | None = None
    dtype: DType = "float32"
    guidance_scale: float = PAPER_GUIDANCE
    num_inference_steps: AtLeastOne = PAPER_STEPS
    negative_prompt: str = ""
    height: Side = 0
    width: Side = 0
    samples: Samples = 1
    batch_size: BatchSize = 8
    part_size: AtLeastOne = 64
    format: ImageFormat = ImageFormat()

    @property
    def model_name(self) -> str:
        return self.model or (PAPER_SDXL if self.backend == "sdxl" else "mini")

    def identity(self) -> dict[str, Any]:
        """All that decides an image's bytes, but for the model's own content."""
        rest = asdict(self)
        for name in ("model", "revision", "part_size", "samples"):
            del rest[name]
        return rest


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskSettings(Settings):
    """How the object is found in the image by its name, and which masks are good enough.

    segmenter: lang-sam or grounded-sam (the paper's kind), grabcut offline. min_area, max_area: share of the frame.
    min_score: of the detector's confidence, where the segmenter has one.
    """

    segmenter: Segmenter = "grabcut"
    segmenter_models: Mapping[str, ModelRef] = field(default_factory=dict)
    min_area: ShareBelowOne = 0.02
    max_area: PositiveShare = 0.8
    min_score: Share = 0.35

    def check(self) -> None:
        require(self.min_area < self.max_area, "min_area", "less than max_area", self.min_area)
        require(self.segmenter not in ("file", "alpha"), "segmenter", "one that sees pixels", self.segmenter)
        check_segmenter_models(self.segmenter_models)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSettings(Settings):
    """The form of the result. validation: share of the objects whose samples are left out of training."""

    format: Literal["parquet", "webdataset"] = "parquet"
    shard_size: AtLeastOne = 512
    validation: ShareBelowOne = 0.1
