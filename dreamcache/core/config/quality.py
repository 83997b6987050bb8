"""Settings of the quality gate, and their name in item ids. Parsed from YAML by `jobs.spec`. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Interval

from dreamcache.core.config.evaluate import IMAGE_METRICS, MetricSettings
from dreamcache.core.config.fields import Score
from dreamcache.core.config.rules import Settings

MAX_TRIES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings(Settings):
    """An image is kept if it is near its reference and its prompt; else it is generated again with the next seed.

    min_image: least `image_metric` (masked ones compare the subjects alone); min_text: least `text_metric`; None
    sets no threshold. tries: images generated of an item at most. keep: the `first` that passes, or the `best` of all
    tries: of those that pass the one with the highest image score, or text score where min_image is None.
    metrics: encoders and segmenter; what the gate does not use is not loaded.
    """

    image_metric: Literal["clip_i", "dino", "dinov2", "mclip_i", "mdino", "mdinov2"] = "mclip_i"
    min_image: Score | None = None
    text_metric: Literal["clip_t"] = "clip_t"
    min_text: Score | None = None
    tries: Annotated[int, Interval(ge=1, le=MAX_TRIES)] = 4
    keep: Literal["first", "best"] = "first"
    metrics: MetricSettings = field(default_factory=MetricSettings)

    def check(self) -> None:
        if self.min_image is None and self.min_text is None:
            raise ValueError("min_image or min_text must be given")
        missing = [metric for metric in self._required if metric not in self.metrics.metrics]
        if missing:
            raise ValueError(f"metrics must have the encoder and segmenter of {', '.join(missing)}")

    @property
    def _required(self) -> tuple[str, ...]:
        metrics = ((self.image_metric, self.min_image), (self.text_metric, self.min_text))
        return tuple(metric for metric, least in metrics if least is not None)

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
