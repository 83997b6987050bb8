"""Settings of an evaluation's metrics as frozen values, checked when made. Parsed from YAML by `jobs.evaluate.spec`.

Defaults are the paper's (docs/method.md section 6): CLIP ViT-B/32, DINO ViT-S/16, Grounded-SAM. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dreamcache.core.config import FORBID_UNKNOWN, SEGMENTER_MODELS, Segmenter

PAPER_CLIP = "openai/clip-vit-base-patch32"
PAPER_DINO = "facebook/dino-vits16"

IMAGE_METRICS: Mapping[str, str] = {"clip": "clip_i", "dino": "dino", "dinov2": "dinov2"}
"""Encoder -> metric of image similarity; the masked one has an "m" before it."""

TEXT_METRIC = "clip_t"

METRICS = ("clip_i", "clip_t", "dino", "dinov2", "mclip_i", "mdino", "mdinov2")
"""Every metric there is, in the order of tables."""

TITLES: Mapping[str, str] = {
    "clip_i": "CLIP-I",
    "clip_t": "CLIP-T",
    "dino": "DINO",
    "dinov2": "DINOv2",
    "mclip_i": "MCLIP-I",
    "mdino": "MDINO",
    "mdinov2": "MDINOv2",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSettings:
    """Which encoders compare images, and how subjects are cut out for the masked metrics.

    clip, dino, dinov2: a folder, a hub id `owner/name` or `owner/name@revision`, None for none; clip may be `mini`,
    the embedded model's own small CLIP, whose numbers compare with no one else's.
    segmenter: of the masked metrics, None for none of them. segmenter_models: as in `config.EncodeSettings`.
    segment_size, margin: side in pixels of the white square a segment is placed on, and the white around it.
    """

    clip: str | None = PAPER_CLIP
    dino: str | None = PAPER_DINO
    dinov2: str | None = None
    segmenter: Segmenter | None = "grounded-sam"
    segmenter_models: Mapping[str, str] = field(default_factory=dict)
    segment_size: int = 224
    margin: float = 0.05

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if not self.encoders:
            raise ValueError("clip, dino or dinov2 must name a model, got none")
        unknown = sorted(set(self.segmenter_models) - set(SEGMENTER_MODELS))
        if unknown:
            raise ValueError(f"segmenter_models must be of {', '.join(SEGMENTER_MODELS)}, got {unknown}")
        if self.segment_size < 16:
            raise ValueError(f"segment_size must be at least 16 pixels, got {self.segment_size}")
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"margin must be from 0 to 0.5 of the side, got {self.margin}")

    @property
    def encoders(self) -> dict[str, str]:
        """Model by encoder name, those in use."""
        named = {"clip": self.clip, "dino": self.dino, "dinov2": self.dinov2}
        return {name: model for name, model in named.items() if model is not None}

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured, in the order of tables."""
        found = {IMAGE_METRICS[name] for name in self.encoders}
        if self.segmenter is not None:
            found |= {"m" + metric for metric in found}
        if self.clip is not None:
            found.add(TEXT_METRIC)
        return tuple(metric for metric in METRICS if metric in found)

    @property
    def are_the_papers(self) -> bool:
        """Whether numbers may stand beside published ones: the paper's encoders and none in their place."""
        return (
            self.clip is not None
            and self.dino is not None
            and all(
                model.partition("@")[0] == paper
                for model, paper in ((self.clip, PAPER_CLIP), (self.dino, PAPER_DINO))
            )
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
