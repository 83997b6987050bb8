"""Settings of the quality gate, and their name in item ids. Parsed from YAML by `jobs.spec`. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from dreamcache.core.config import FORBID_UNKNOWN
from dreamcache.core.config.evaluate import IMAGE_METRICS, MetricSettings

MAX_TRIES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings:
    """An image is kept if it is near its reference and its prompt; else it is drawn again with the next seed.

    min_image: least `image_metric` (masked ones compare the subjects alone); min_text: least `text_metric`; None
    asks for nothing. tries: images drawn of an item at most. keep: the `first` that passes, or the `best` of all tries:
    of those that pass the one with the highest image score, or text score where min_image is None.
    metrics: encoders and segmenter; what the gate does not use is not loaded.
    """

    image_metric: Literal["clip_i", "dino", "dinov2", "mclip_i", "mdino", "mdinov2"] = "mclip_i"
    min_image: float | None = None
    text_metric: Literal["clip_t"] = "clip_t"
    min_text: float | None = None
    tries: int = 4
    keep: Literal["first", "best"] = "first"
    metrics: MetricSettings = field(default_factory=MetricSettings)

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if self.min_image is None and self.min_text is None:
            raise ValueError("min_image or min_text must be given")
        for name in ("min_image", "min_text"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ValueError(f"{name} must be from -1 to 1, got {value}")
        if not 1 <= self.tries <= MAX_TRIES:
            raise ValueError(f"tries must be from 1 to {MAX_TRIES}, got {self.tries}")
        missing = [metric for metric in self._asked if metric not in self.metrics.metrics]
        if missing:
            raise ValueError(f"metrics must have the encoder and segmenter of {', '.join(missing)}")

    @property
    def _asked(self) -> tuple[str, ...]:
        given = ((self.image_metric, self.min_image), (self.text_metric, self.min_text))
        return tuple(metric for metric, least in given if least is not None)

    @property
    def used_metrics(self) -> MetricSettings:
        """`metrics` without what the gate does not use."""
        used = {"clip"} if self.min_text is not None else set()
        if self.min_image is not None:
            used |= {name for name, metric in IMAGE_METRICS.items() if self.image_metric.endswith(metric)}
        unused = {name: None for name in self.metrics.encoders if name not in used}
        masked = self.min_image is not None and self.image_metric not in IMAGE_METRICS.values()
        segmenter = self.metrics.segmenter if masked else None
        return replace(self.metrics, **unused, segmenter=segmenter)  # type: ignore[arg-type]
