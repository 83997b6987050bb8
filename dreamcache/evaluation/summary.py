"""From scores of images to the paper's table: means per subject, means of subjects with intervals, differences.

    scored images -> SubjectMean (method x subject) -> MethodMean (method) -> Difference (method - method)

A subject counts once, however many images it has; where all have as many, this is the mean over images. Knows rows
and numbers; knows nothing of files or Markdown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dreamcache.evaluation.bootstrap import BootstrapSettings, Interval, interval
from dreamcache.evaluation.scores import Score


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredImage:
    """One image of one method with its score."""

    method: str
    subject_id: str
    class_name: str
    prompt: str | None
    image: str
    score: Score


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectMean:
    """values: by metric, the mean over the subject's images that have it.

    num_scored, num_failed: images with and without a score; num_not_found: of the scored, those in which the segmenter
    found nothing, or had no real segment to compare with: they are in no masked mean.
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
    """values: by metric, over subjects. num_missing: images that were planned and not generated."""

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
    """`method` minus `other`, paired by the subjects that both have."""

    method: str
    other: str
    values: Mapping[str, Interval]
    num_subjects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """metrics: in the order of tables; methods: in the order of the request."""

    metrics: tuple[str, ...]
    subjects: tuple[SubjectMean, ...]
    methods: tuple[MethodMean, ...]
    differences: tuple[Difference, ...]


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
    for method in methods:
        own = [image for image in images if image.method == method]
        means = _by_subject(method, own, metrics)
        subjects += means
        table.append(_method(method, own, means, metrics, settings, (missing or {}).get(method, 0)))
    by_method = {
        method: {mean.subject_id: mean for mean in subjects if mean.method == method} for method in methods
    }
    differences = [_difference(methods[0], other, by_method, metrics, settings) for other in methods[1:]]
    return Summary(
        metrics=metrics,
        subjects=tuple(subjects),
        methods=tuple(table),
        differences=tuple(one for one in differences if one.values),
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
            known = [value for score in scores if (value := score.values.get(metric)) is not None]
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


def _difference(
    method: str,
    other: str,
    by_method: Mapping[str, Mapping[str, SubjectMean]],
    metrics: tuple[str, ...],
    settings: BootstrapSettings,
) -> Difference:
    ours, theirs = by_method[method], by_method[other]
    both = [subject for subject in ours if subject in theirs]
    values = {}
    for metric in metrics:
        gaps = [
            ours[subject].values[metric] - theirs[subject].values[metric]
            for subject in both
            if metric in ours[subject].values and metric in theirs[subject].values
        ]
        if gaps:
            values[metric] = interval(gaps, settings)
    return Difference(method=method, other=other, values=values, num_subjects=len(both))
