"""From scores to an ablation's table: means over subjects and seeds, differences to the baseline and to the untrained.

    scored images of every arm (variant x seed) -> [seeds, subjects] per column -> VariantRow, Gap

Seeds and subjects are both resampled, each with replacement, since another training and another catalog would both
change the mean. A difference is paired by seed, subject, prompt and sample. Knows rows and numbers; knows nothing of
files, trainings or Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamcache.evaluation.bootstrap import CHUNK, BootstrapSettings, Interval
from dreamcache.evaluation.summary import ScoredImage, paired_gaps, with_misses


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training: a variant with a seed."""

    variant: str
    seed: int

    @property
    def name(self) -> str:
        """As a method of the evaluation."""
        return f"{self.variant} (seed {self.seed})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """`variant` minus `other` by column; empty where nothing could be paired."""

    variant: str
    other: str
    values: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantRow:
    """values: by column, over subjects and seeds. num_images: scored; num_seeds: with any of them."""

    variant: str
    values: Mapping[str, Interval]
    num_seeds: int
    num_images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """rows: the variants in their order, then the untrained model. metrics: in the order of tables.

    to_baseline: differences of the other variants to the first; to_untrained: of all to the untrained model.
    """

    metrics: tuple[str, ...]
    rows: tuple[VariantRow, ...]
    to_baseline: tuple[Gap, ...]
    to_untrained: tuple[Gap, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return with_misses(self.metrics)

    def has_learned(self, variant: str, column: str) -> bool:
        """Whether a variant is above the untrained model in a column by the whole interval."""
        gap = next((gap for gap in self.to_untrained if gap.variant == variant), None)
        value = gap.values.get(column) if gap is not None else None
        return value is not None and value.is_above_zero

    def verdict(self, gap: Gap, column: str) -> str:
        """What a difference between two variants shows: above, below, not distinguished, or nothing."""
        value = gap.values.get(column)
        if value is None or value.bounds is None:
            return "no interval"
        if not (self.has_learned(gap.variant, column) or self.has_learned(gap.other, column)):
            return "not learned"
        return "above" if value.is_above_zero else "below" if value.is_below_zero else "not distinguished"


def ablation_of(
    images: Sequence[ScoredImage],
    arms: Sequence[Arm],
    untrained: str,
    metrics: tuple[str, ...],
    settings: BootstrapSettings,
) -> Ablation:
    """arms: the first one's variant is the baseline. untrained: the name of that method."""
    by_method: dict[str, list[ScoredImage]] = {}
    for image in images:
        by_method.setdefault(image.method, []).append(image)
    of_variant: dict[str, list[list[ScoredImage]]] = {}
    for arm in arms:
        of_variant.setdefault(arm.variant, []).append(by_method.get(arm.name, []))
    base = [by_method.get(untrained, [])]
    columns = with_misses(metrics)
    rows = [_row(name, seeds, columns, settings) for name, seeds in of_variant.items()]
    first = next(iter(of_variant))
    return Ablation(
        metrics=metrics,
        rows=(*rows, _row(untrained, base, columns, settings)),
        to_baseline=tuple(
            _gap(name, first, seeds, of_variant[first], columns, settings)
            for name, seeds in of_variant.items()
            if name != first
        ),
        to_untrained=tuple(
            _gap(name, untrained, seeds, base * len(seeds), columns, settings)
            for name, seeds in of_variant.items()
        ),
    )


def _row(
    variant: str, seeds: Sequence[Sequence[ScoredImage]], columns: Sequence[str], settings: BootstrapSettings
) -> VariantRow:
    values: dict[str, Interval] = {}
    for column in columns:
        by_seed = [_subject_means(images, column) for images in seeds]
        found = crossed_interval(by_seed, settings)
        if found is not None:
            values[column] = found
    scored = [sum(image.score.code is None for image in images) for images in seeds]
    return VariantRow(
        variant=variant, values=values, num_seeds=sum(map(bool, scored)), num_images=sum(scored)
    )


def _gap(
    variant: str,
    other: str,
    ours: Sequence[Sequence[ScoredImage]],
    theirs: Sequence[Sequence[ScoredImage]],
    columns: Sequence[str],
    settings: BootstrapSettings,
) -> Gap:
    values: dict[str, Interval] = {}
    for column in columns:
        by_seed = [paired_gaps(a, b, column)[0] for a, b in zip(ours, theirs, strict=True)]
        found = crossed_interval(by_seed, settings)
        if found is not None:
            values[column] = found
    return Gap(variant=variant, other=other, values=values)


def _subject_means(images: Sequence[ScoredImage], column: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for image in images:
        value = image.value(column) if image.score.code is None else None
        if value is not None:
            values.setdefault(image.subject_id, []).append(value)
    return {subject: sum(own) / len(own) for subject, own in values.items()}


def crossed_interval(by_seed: Sequence[Mapping[str, float]], settings: BootstrapSettings) -> Interval | None:
    """Mean and percentile interval of {subject: value} of every seed; None where there is no value.

    Seeds and subjects are resampled independently. With one subject there is no interval; with one seed the interval
    is over subjects alone.
    """
    subjects = sorted({subject for values in by_seed for subject in values})
    table = np.array([[values.get(subject, np.nan) for subject in subjects] for values in by_seed])
    known = ~np.isnan(table)
    if not known.any():
        return None
    mean = float(table[known].mean())
    if len(subjects) == 1:
        return Interval(mean=mean, low=None, high=None, n=1)
    means = _resampled(np.where(known, table, 0.0), known.astype(np.float64), settings)
    tail = 50 * (1 - settings.level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(mean=mean, low=float(low), high=float(high), n=len(subjects))


def _resampled(
    values: NDArray[np.float64], known: NDArray[np.float64], settings: BootstrapSettings
) -> NDArray[np.float64]:
    """Means of the table with seeds and subjects resampled; an empty choice counts as no choice."""
    rng = np.random.default_rng(settings.seed)
    num_seeds, num_subjects = values.shape
    step = max(1, CHUNK // num_subjects)
    parts = []
    for start in range(0, settings.resamples, step):
        count = min(step, settings.resamples - start)
        rows = rng.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=count).astype(np.float64)
        columns = rng.multinomial(num_subjects, [1 / num_subjects] * num_subjects, size=count).astype(
            np.float64
        )
        sums = ((rows @ values) * columns).sum(axis=1)
        counts = ((rows @ known) * columns).sum(axis=1)
        parts.append(sums[counts > 0] / counts[counts > 0])
    return np.concatenate(parts)
