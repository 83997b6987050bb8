"""From scores of images to the paper's table: means per subject, means of subjects with intervals, differences.

    scored images -> SubjectMean (method x subject) -> MethodMean (method) -> Difference (method - method)

A subject counts once, however many images it has; where all have as many, this is the mean over images. A difference
is taken between images of the same subject, prompt and sample, so that another choice of prompts is no gain. Knows
rows and numbers; knows nothing of files or Markdown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dreamcache.core.config.evaluate import IMAGE_METRICS, TITLES
from dreamcache.evaluation.bootstrap import BootstrapSettings, Interval, interval
from dreamcache.evaluation.scores import Score

MASKED_METRICS = frozenset("m" + metric for metric in IMAGE_METRICS.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredImage:
    """One image of one method with its score."""

    method: str
    subject_id: str
    class_name: str
    prompt: str | None
    image: str
    score: Score
    sample: int | None = None

    def value(self, column: str) -> float | None:
        """Of a metric, or of a masked metric with misses as zero (`with_misses`); None where there is none."""
        if not column.endswith(MISSES):
            return self.score.values.get(column)
        is_miss = self.score.code is None and self.score.found is False and bool(self.score.num_real_found)
        return 0.0 if is_miss else self.score.values.get(column.removesuffix(MISSES))


MISSES = "_misses_0"
"""Ends the name of a masked metric in which an image without a segment counts as 0 instead of not at all."""


def with_misses(metrics: Sequence[str]) -> tuple[str, ...]:
    """The columns of tables: each masked metric, and after it the one that counts misses as zero."""
    columns = [(metric, metric + MISSES) if metric in MASKED_METRICS else (metric,) for metric in metrics]
    return tuple(column for group in columns for column in group)


def title_of(column: str) -> str:
    """What tables call a column."""
    metric = column.removesuffix(MISSES)
    return TITLES[metric] if metric == column else f"{TITLES[metric]}, misses 0"


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectMean:
    """values: by column, the mean over the subject's images that have it.

    num_scored, num_failed: images with and without a score; num_not_found: of the scored, those in which the segmenter
    found nothing, or had no real segment to compare with: they are in no masked mean, and the first kind is 0 in the
    columns that count misses.
    """

    method: str
    subject_id: str
    class_name: str
    values: Mapping[str, float]
    num_scored: int
    num_failed: int
    num_not_found: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodMean:
    """values: by column, over subjects. num_missing: images that were planned and not generated."""

    method: str
    values: Mapping[str, Interval]
    num_subjects: int
    num_scored: int
    num_failed: int
    num_not_found: int
    num_missing: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """`method` minus `other`, paired by subject, prompt and sample.

    num_subjects: those that both have, num_images: pairs of images. by_subject: where the prompts of one method are
    not known, whole subjects are compared instead. Empty values: nothing could be paired.
    """

    method: str
    other: str
    values: Mapping[str, Interval]
    num_subjects: int
    num_images: int
    by_subject: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """metrics: in the order of tables; methods: in the order of the request."""

    metrics: tuple[str, ...]
    subjects: tuple[SubjectMean, ...]
    methods: tuple[MethodMean, ...]
    differences: tuple[Difference, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics, and the masked ones with misses as zero."""
        return with_misses(self.metrics)


def summarize(
    images: Sequence[ScoredImage],
    methods: Sequence[str],
    metrics: tuple[str, ...],
    settings: BootstrapSettings,
    missing: Mapping[str, int] | None = None,
) -> Summary:
    """Means and intervals. missing: by method, images that were planned and have none."""
    subjects: list[SubjectMean] = []
    table: list[MethodMean] = []
    by_method: dict[str, list[ScoredImage]] = {method: [] for method in methods}
    for image in images:
        if image.method in by_method:
            by_method[image.method].append(image)
    columns = with_misses(metrics)
    for method, own in by_method.items():
        means = _by_subject(method, own, columns)
        subjects += means
        table.append(_method(method, own, means, columns, settings, (missing or {}).get(method, 0)))
    first = methods[0] if methods else ""
    return Summary(
        metrics=metrics,
        subjects=tuple(subjects),
        methods=tuple(table),
        differences=tuple(
            difference(first, other, by_method[first], by_method[other], columns, settings)
            for other in methods[1:]
        ),
    )


def _by_subject(method: str, images: Sequence[ScoredImage], metrics: tuple[str, ...]) -> list[SubjectMean]:
    groups: dict[str, list[ScoredImage]] = {}
    for image in images:
        groups.setdefault(image.subject_id, []).append(image)
    means = []
    for subject_id, group in groups.items():
        scores = [image.score for image in group if image.score.code is None]
        values = {}
        for metric in metrics:
            known = [value for image in group if (value := image.value(metric)) is not None]
            if known:
                values[metric] = sum(known) / len(known)
        means.append(
            SubjectMean(
                method=method,
                subject_id=subject_id,
                class_name=group[0].class_name,
                values=values,
                num_scored=len(scores),
                num_failed=len(group) - len(scores),
                num_not_found=sum(_not_found(score) for score in scores),
            )
        )
    return means


def _not_found(score: Score) -> bool:
    return score.found is not None and not (score.found and score.num_real_found)


def _method(
    method: str,
    images: Sequence[ScoredImage],
    means: Sequence[SubjectMean],
    metrics: tuple[str, ...],
    settings: BootstrapSettings,
    missing: int,
) -> MethodMean:
    values = {}
    for metric in metrics:
        known = [mean.values[metric] for mean in means if metric in mean.values]
        if known:
            values[metric] = interval(known, settings)
    unmasked = [image.score for image in images if image.score.code is None and _not_found(image.score)]
    return MethodMean(
        method=method,
        values=values,
        num_subjects=len(means),
        num_scored=sum(mean.num_scored for mean in means),
        num_failed=sum(mean.num_failed for mean in means),
        num_not_found=sum(mean.num_not_found for mean in means),
        num_missing=missing,
        reasons=Counter(score.reason or "no_real_segment" for score in unmasked),
    )


def paired_gaps(
    ours: Sequence[ScoredImage], theirs: Sequence[ScoredImage], column: str
) -> tuple[dict[str, float], int, bool]:
    """(by subject the mean difference of a column, pairs of images, whether whole subjects were compared).

    Images of one subject, prompt and sample are a pair; several of them on one side are averaged first. A subject
    without any common prompt is left out, and compared as a whole only where one side knows no prompts at all.
    """
    left, right = _cells(ours, column), _cells(theirs, column)
    gaps: dict[str, float] = {}
    num_pairs, by_subject = 0, False
    for subject in left:
        if subject not in right:
            continue
        mine, others = left[subject], right[subject]
        if _are_unknown(mine) or _are_unknown(others):
            by_subject, mine, others = True, _as_one(mine), _as_one(others)
        common = [key for key in mine if key in others]
        if common:
            gaps[subject] = _mean([_mean(mine[key]) - _mean(others[key]) for key in common])
            num_pairs += sum(min(len(mine[key]), len(others[key])) for key in common)
    return gaps, num_pairs, by_subject


_Cells = dict[tuple[str | None, int | None], list[float]]
"""Values by (prompt, sample)."""


def _cells(images: Sequence[ScoredImage], column: str) -> dict[str, _Cells]:
    """{subject: {(prompt, sample): values}} of the images that have the column."""
    cells: dict[str, _Cells] = {}
    for image in images:
        value = image.value(column) if image.score.code is None else None
        if value is not None:
            cells.setdefault(image.subject_id, {}).setdefault((image.prompt, image.sample), []).append(value)
    return cells


def _are_unknown(cells: _Cells) -> bool:
    return all(prompt is None for prompt, _ in cells)


def _as_one(cells: _Cells) -> _Cells:
    return {(None, None): [value for values in cells.values() for value in values]}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def difference(
    method: str,
    other: str,
    ours: Sequence[ScoredImage],
    theirs: Sequence[ScoredImage],
    columns: Sequence[str],
    settings: BootstrapSettings,
) -> Difference:
    """`method` minus `other` in each column that pairs of their images have."""
    values: dict[str, Interval] = {}
    subjects: set[str] = set()
    most, by_subject = 0, False
    for column in columns:
        gaps, num_pairs, is_whole = paired_gaps(ours, theirs, column)
        if gaps:
            values[column] = interval(list(gaps.values()), settings)
        subjects |= gaps.keys()
        most, by_subject = max(most, num_pairs), by_subject or is_whole
    return Difference(
        method=method,
        other=other,
        values=values,
        num_subjects=len(subjects),
        num_images=most,
        by_subject=by_subject,
    )
