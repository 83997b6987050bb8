"""Settings of a synthesis as frozen values, checked when made. Parsed from YAML by `jobs.synthesize.spec`.

Defaults run offline; the paper's choice (docs/method.md section 5) is named beside each. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dreamcache.core.config import FORBID_UNKNOWN, SEGMENTER_MODELS, DType, ImageFormat, Segmenter

PAPER_LLM = "meta-llama/Llama-3.1-8B-Instruct"
PAPER_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
PAPER_GUIDANCE = 3.5
PAPER_STEPS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionSettings:
    """Where captions come from: "templates" with a vocabulary, or "llm", an instruction-tuned model (the paper's).

    count: captions to make before the filter. vocabulary: "mini" is what the embedded model knows, "general" more.
    categories, contexts: own vocabulary, {"kitchen": [mug, teapot]} and ["on a shelf"]; they come in its place.
    model: a folder or hub id with `revision`; None takes the paper's. prompt: own instruction with {count} and
    {category}. per_request: captions asked for at once. batch_size: requests at once. max_rounds: how often requests
    are made again where answers held fewer captions than asked for.
    """

    backend: Literal["templates", "llm"] = "templates"
    count: int = 1000
    vocabulary: Literal["mini", "general"] = "mini"
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contexts: tuple[str, ...] = ()
    model: str | None = None
    revision: str | None = None
    dtype: DType = "float32"
    prompt: str | None = None
    per_request: int = 20
    batch_size: int = 8
    max_new_tokens: int = 1500
    temperature: float = 1.0
    top_p: float = 0.95
    max_rounds: int = 3

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        for name in ("count", "per_request", "batch_size", "max_new_tokens", "max_rounds"):
            _check(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        _check(self.temperature > 0, "temperature", "more than 0", self.temperature)
        _check(0 < self.top_p <= 1, "top_p", "more than 0 and at most 1", self.top_p)
        empty = sorted(name for name, objects in self.categories.items() if not objects)
        _check(not empty, "categories", "lists of at least one object", empty)
        if self.prompt is not None:
            missing = [key for key in ("{count}", "{category}") if key not in self.prompt]
            _check(not missing, "prompt", "a text with {count} and {category}", self.prompt)

    def identity(self) -> dict[str, Any]:
        """All that decides a caption: not how many are made, so more can be asked for later."""
        rest = asdict(self)
        for name in ("count", "max_rounds"):
            del rest[name]
        return rest


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterSettings:
    """Which captions are dropped. similarity: Jaccard of word pairs from which two captions are near duplicates.

    max_per_object, max_per_category: 0 for no cap. words: fewest and most words of a caption.
    """

    similarity: float = 0.8
    num_permutations: int = 128
    max_per_object: int = 0
    max_per_category: int = 0
    min_words: int = 3
    max_words: int = 60

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        _check(0 < self.similarity <= 1, "similarity", "more than 0 and at most 1", self.similarity)
        _check(self.num_permutations >= 16, "num_permutations", "at least 16", self.num_permutations)
        for name in ("max_per_object", "max_per_category"):
            _check(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        _check(1 <= self.min_words <= self.max_words, "min_words", "from 1 to max_words", self.min_words)


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSettings:
    """What draws the images: "sdxl" (the paper's), or "stable-diffusion", whose default is the embedded model.

    model: `mini`, a diffusers folder or a hub id with `revision`; None takes the backend's own. height, width: pixels,
    0 takes the model's own. samples: images of each caption. part_size: images kept at once, lost when a worker dies.
    """

    backend: Literal["stable-diffusion", "sdxl"] = "stable-diffusion"
    model: str | None = None
    revision: str | None = None
    dtype: DType = "float32"
    guidance_scale: float = PAPER_GUIDANCE
    num_inference_steps: int = PAPER_STEPS
    negative_prompt: str = ""
    height: int = 0
    width: int = 0
    samples: int = 1
    batch_size: int = 8
    part_size: int = 64
    format: ImageFormat = ImageFormat()

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        for name in ("num_inference_steps", "samples", "batch_size", "part_size"):
            _check(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("height", "width"):
            side = getattr(self, name)
            _check(side >= 0 and side % 8 == 0, name, "0 or a multiple of 8 pixels", side)

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
class MaskSettings:
    """How the object is found in the image by its name, and which masks are good enough.

    segmenter: lang-sam or grounded-sam (the paper's kind), grabcut offline. min_area, max_area: share of the frame.
    min_score: of the detector's confidence, where the segmenter has one.
    """

    segmenter: Segmenter = "grabcut"
    segmenter_models: Mapping[str, str] = field(default_factory=dict)
    min_area: float = 0.02
    max_area: float = 0.8
    min_score: float = 0.35

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        _check(
            0 <= self.min_area < self.max_area <= 1,
            "min_area",
            "from 0 to max_area, at most 1",
            self.min_area,
        )
        _check(0 <= self.min_score <= 1, "min_score", "from 0 to 1", self.min_score)
        _check(self.segmenter not in ("file", "alpha"), "segmenter", "one that sees pixels", self.segmenter)
        unknown = sorted(set(self.segmenter_models) - set(SEGMENTER_MODELS))
        _check(not unknown, "segmenter_models", f"of {', '.join(SEGMENTER_MODELS)}", unknown)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSettings:
    """The form of the result. validation: share of the objects whose samples are kept out of training."""

    format: Literal["parquet", "webdataset"] = "parquet"
    shard_size: int = 512
    validation: float = 0.1

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        _check(self.shard_size >= 1, "shard_size", "at least 1", self.shard_size)
        _check(0 <= self.validation < 1, "validation", "from 0 to less than 1", self.validation)


def _check(holds: bool, name: str, rule: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {got!r}")
