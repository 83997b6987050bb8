"""Settings of the metrics of an evaluation as frozen values, checked when constructed (YAML: `jobs.evaluate.spec`).

Defaults are the paper's (docs/method.md section 6): CLIP ViT-B/32, DINO ViT-S/16, Grounded-SAM. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from annotated_types import Ge

from dreamcache.core.config import Margin, Segmenter, check_segmenter_models
from dreamcache.core.config.rules import Settings
from dreamcache.core.locations import ModelRef

PAPER_CLIP = "openai/clip-vit-base-patch32@c237dc49a33fc61debc9276459120b7eac67e7ef"
"""The commit that holds its weights as safetensors."""
PAPER_DINO = "facebook/dino-vits16@abe3b354cb6a9b6f146096b14a4a9d7eecbcb4bd"
"""Its repository has pickled weights, which are not loaded: see docs/evaluation.md."""

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
class MetricSettings(Settings):
    """Which encoders compare images, and how subjects are cut out for the masked metrics.

    clip, dino, dinov2: a folder, a hub id at a commit (`owner/name@commit`), None for none; clip may be `mini`,
    the embedded model's own small CLIP, whose numbers compare with no one else's.
    segmenter: of the masked metrics, None for none of them. segmenter_models: as in `config.EncodeSettings`.
    segment_size, margin: side in pixels of the white square a segment is placed on, and the white around it.
    """

    clip: ModelRef | None = PAPER_CLIP
    dino: ModelRef | None = PAPER_DINO
    dinov2: ModelRef | None = None
    segmenter: Segmenter | None = "grounded-sam"
    segmenter_models: Mapping[str, ModelRef] = field(default_factory=dict)
    segment_size: Annotated[int, Ge(16)] = 224
    margin: Margin = 0.05

    def check(self) -> None:
        if not self.encoders:
            raise ValueError("clip, dino or dinov2 must name a model, got none")
        check_segmenter_models(self.segmenter_models)

    @property
    def encoders(self) -> dict[str, str]:
        """Model by encoder name, those in use."""
        named = {"clip": self.clip, "dino": self.dino, "dinov2": self.dinov2}
        return {name: model for name, model in named.items() if model is not None}

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured, in the order of tables."""
        measured = {IMAGE_METRICS[name] for name in self.encoders}
        if self.segmenter is not None:
            measured |= {"m" + metric for metric in measured}
        if self.clip is not None:
            measured.add(TEXT_METRIC)
        return tuple(metric for metric in METRICS if metric in measured)

    @property
    def are_the_papers(self) -> bool:
        """Whether numbers may stand beside published ones: the paper's encoders and no others."""
        return (
            self.clip is not None
            and self.dino is not None
            and all(
                model.partition("@")[0] == paper.partition("@")[0]
                for model, paper in ((self.clip, PAPER_CLIP), (self.dino, PAPER_DINO))
            )
        )

    @property
    def has_the_papers_segmenter(self) -> bool:
        """Whether masked numbers may stand beside published ones: Grounded-SAM with its own weights."""
        return self.segmenter == "grounded-sam" and not self.segmenter_models

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
