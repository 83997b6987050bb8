"""Settings of the quality gate, and their name in item ids. Parsed from YAML by `jobs.spec`. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Interval

from dreamcache.core.config.evaluate import IMAGE_METRICS, MetricSettings
from dreamcache.core.config.fields import NotNegative, Score, Share, ZeroOrMore
from dreamcache.core.config.rules import Settings
from dreamcache.core.locations import Location

MAX_TRIES = 64
Check = Literal["contrast", "outline", "colour", "label"]

CHECK_OF: Mapping[str, Check] = {
    "min_contrast": "contrast",
    "min_completeness": "outline",
    "max_count_difference": "outline",
    "max_colour_difference": "colour",
    "min_label_words": "label",
}
"""Threshold -> what must be measured for it, the cheaper ones first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings(Settings):
    """An image is kept if it is near its reference and its prompt; else it is generated again with the next seed.

    min_image: least `image_metric` (masked ones compare the subjects alone); min_text: least `text_metric`; None
    sets no threshold, here and below. min_contrast: least standard deviation of all pixels (0 to 127); a blank image
    has less than 2. min_completeness: least IoU of the subject's outline with the photo's. max_count_difference:
    objects more or fewer than on the photo. max_colour_difference: most CIEDE2000 of a main colour. min_label_words:
    least share of the photo's words that are read on the image; on_unreadable: what is done where its print cannot be
    read. ocr: folder of rapidocr's ONNX files ('make models'; needs the extra ocr). measure: scores to record without a
    threshold; others are not computed. See docs/quality.md.
    tries: images generated of an item at most. keep: the `first` that passes, or the `best` of all
    tries: of those that pass the one with the highest image score, else text score, else with the nearest colour.
    metrics: encoders and segmenter; what the gate does not use is not loaded.
    """

    image_metric: Literal["clip_i", "dino", "dinov2", "mclip_i", "mdino", "mdinov2"] = "mclip_i"
    min_image: Score | None = None
    text_metric: Literal["clip_t"] = "clip_t"
    min_text: Score | None = None
    min_contrast: NotNegative | None = None
    min_completeness: Share | None = None
    max_count_difference: ZeroOrMore | None = None
    max_colour_difference: NotNegative | None = None
    min_label_words: Share | None = None
    on_unreadable: Literal["reject", "keep"] = "reject"
    ocr: Location | None = None
    measure: tuple[Check, ...] = ()
    tries: Annotated[int, Interval(ge=1, le=MAX_TRIES)] = 4
    keep: Literal["first", "best"] = "first"
    metrics: MetricSettings = field(default_factory=MetricSettings)

    def check(self) -> None:
        if self.min_image is None and self.min_text is None and not self.checks:
            raise ValueError(f"min_image, min_text, {', '.join(CHECK_OF)} or measure must be given")
        missing = [metric for metric in self._required if metric not in self.metrics.metrics]
        if missing:
            raise ValueError(f"metrics must have the encoder and segmenter of {', '.join(missing)}")
        if self.checks - {"contrast"} and self.metrics.segmenter is None:
            raise ValueError(f"metrics.segmenter must be given for {', '.join(sorted(self.checks))}")
        if "label" in self.checks and self.ocr is None:
            raise ValueError(
                "ocr must name the folder of rapidocr's ONNX files for min_label_words; 'make models'"
            )

    @property
    def truth_thresholds(self) -> dict[str, float]:
        """The thresholds of checks that compare the image with the product, by name."""
        values = {name: getattr(self, name) for name in CHECK_OF}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def checks(self) -> frozenset[Check]:
        """What is measured of each image besides similarity."""
        return frozenset((*self.measure, *(CHECK_OF[name] for name in self.truth_thresholds)))

    @property
    def _required(self) -> tuple[str, ...]:
        metrics = ((self.image_metric, self.min_image), (self.text_metric, self.min_text))
        return tuple(metric for metric, least in metrics if least is not None)

    @property
    def used_metrics(self) -> MetricSettings | None:
        """`metrics` without what similarity does not use; None for a gate without it."""
        used = {"clip"} if self.min_text is not None else set()
        if self.min_image is not None:
            used |= {name for name, metric in IMAGE_METRICS.items() if self.image_metric.endswith(metric)}
        if not used:
            return None
        unused = {name: None for name in self.metrics.encoders if name not in used}
        masked = self.min_image is not None and self.image_metric not in IMAGE_METRICS.values()
        segmenter = self.metrics.segmenter if masked else None
        return replace(self.metrics, **unused, segmenter=segmenter)  # type: ignore[arg-type]
