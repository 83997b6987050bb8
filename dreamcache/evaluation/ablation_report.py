"""An ablation's report: the paper's table as Markdown, the same numbers as Arrow tables, and charts.

Published numbers stand in a table of their own, with what they were measured with. Knows ablations and Markdown; knows
nothing of storage or trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from dreamcache.core.config.evaluate import TITLES, MetricSettings
from dreamcache.evaluation.ablation import Ablation, Gap
from dreamcache.evaluation.bootstrap import Interval
from dreamcache.evaluation.plot import Curve, curve_chart, interval_chart
from dreamcache.evaluation.report import MINI_NOTE, NOT_COMPARABLE, models_line
from dreamcache.evaluation.summary import title_of
from dreamcache.evaluation.tables import interval_columns, interval_text, markdown_table


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFacts:
    """What is known of a variant besides its scores.

    parameters: that were trained. steps: of its trainings, one for each seed. curves: by seed, {step: validation error
    on the subject with the right reference, over the noise levels}. published: by metric.
    """

    parameters: int
    steps: tuple[int, ...]
    curves: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationContext:
    """variants: facts by name, in the order of the table. published_from: what published numbers were measured with."""

    name: str
    metrics: MetricSettings
    level: float
    seeds: tuple[int, ...]
    variants: Mapping[str, VariantFacts]
    published_from: str
    untrained: str


def ablation_markdown(ablation: Ablation, context: AblationContext) -> str:
    """report.md."""
    parts = [f"# Ablation: {context.name}", models_line(context.metrics)]
    if not context.metrics.are_the_papers:
        parts.append(NOT_COMPARABLE + (f" {MINI_NOTE}" if context.metrics.clip == "mini" else ""))
    parts.append(_how(context))
    parts.append(_means(ablation, context))
    parts += [_gaps(ablation, context), _learned(ablation, context), _published(ablation, context)]
    names = ablation_charts(ablation, context)
    parts.append("\n".join(f"![{name.removesuffix('.svg')}](plots/{name})" for name in names))
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(context: AblationContext) -> str:
    resampled = (
        "subjects and seeds"
        if len(context.seeds) > 1
        else "subjects; one seed shows nothing of other trainings"
    )
    return (
        f"Means over subjects and seeds ({', '.join(map(str, context.seeds))}), with {context.level:.0%} bootstrap "
        f"intervals over {resampled}; (n) is the number of subjects that have the metric. Differences are paired by "
        f"seed, subject, prompt and sample. `{context.untrained}` is what the trainings started from. Higher is better."
    )


def _means(ablation: Ablation, context: AblationContext) -> str:
    head = ["variant", "steps", "parameters", "images", *(title_of(column) for column in ablation.columns)]
    rows = []
    for row in ablation.rows:
        facts = context.variants.get(row.variant)
        steps = "-" if facts is None else " ".join(map(str, dict.fromkeys(facts.steps)))
        count = "-" if facts is None else f"{facts.parameters:,}"
        values = [interval_text(row.values.get(column)) for column in ablation.columns]
        rows.append([row.variant, steps, count, str(row.num_images), *values])
    return markdown_table(head, rows)


def _gaps(ablation: Ablation, context: AblationContext) -> str:
    if not ablation.to_baseline:
        return ""
    head = ["difference to the baseline", *(title_of(column) for column in ablation.columns)]
    rows = [
        [f"{gap.variant} - {gap.other}", *(_verdict(ablation, gap, column) for column in ablation.columns)]
        for gap in ablation.to_baseline
    ]
    return markdown_table(head, rows)


def _verdict(ablation: Ablation, gap: Gap, column: str) -> str:
    value = gap.values.get(column)
    return "-" if value is None else f"{interval_text(value)} {ablation.verdict(gap, column)}"


def _learned(ablation: Ablation, context: AblationContext) -> str:
    """Differences to the untrained model, and what follows for the orderings above."""
    head = ["difference to the untrained model", *(title_of(column) for column in ablation.columns)]
    rows = [
        [gap.variant, *(interval_text(gap.values.get(column)) for column in ablation.columns)]
        for gap in ablation.to_untrained
    ]
    without = [
        f"{title_of(column)}: {', '.join(names)}"
        for column in ablation.columns
        if (
            names := [
                gap.variant for gap in ablation.to_untrained if not ablation.has_learned(gap.variant, column)
            ]
        )
    ]
    note = (
        'An ordering is claimed ("above", "below") only where at least one of the two is above the untrained model by '
        'its whole interval; "not learned" marks the others, which show nothing.'
    )
    if without:
        note += f" Not above the untrained model: {'; '.join(without)}."
    return markdown_table(head, rows) + "\n\n" + note


def _published(ablation: Ablation, context: AblationContext) -> str:
    named = {name: facts.published for name, facts in context.variants.items() if facts.published}
    columns = [metric for metric in TITLES if any(metric in numbers for numbers in named.values())]
    if not columns:
        return ""
    rows = [
        [name, *(f"{numbers[column]:.3f}" if column in numbers else "-" for column in columns)]
        for name, numbers in named.items()
    ]
    intro = f"Published ({context.published_from}). Only the order of its lines compares with ours:"
    return intro + "\n\n" + markdown_table(["published", *(TITLES[column] for column in columns)], rows)


def ablation_charts(ablation: Ablation, context: AblationContext) -> dict[str, str]:
    """SVG by file name: each metric with intervals, and the held-out error over the steps."""
    files: dict[str, str] = {}
    for metric in ablation.metrics:
        rows: dict[str, Interval] = {
            row.variant: row.values[metric] for row in ablation.rows if metric in row.values
        }
        if rows:
            files[f"{metric}.svg"] = interval_chart(TITLES[metric], rows)
    curves = [
        Curve(name=name, points=[(step, error, "") for step, error in _mean_curve(facts).items()])
        for name, facts in context.variants.items()
    ]
    if any(len(curve.points) > 1 for curve in curves):
        shown = [curve for curve in curves if curve.points]
        files["held-out.svg"] = curve_chart(
            "Held-out error on the subject, right reference", shown, across="step", up="squared error"
        )
    return files


def _mean_curve(facts: VariantFacts) -> dict[int, float]:
    """{step: mean over the seeds}, of the steps that every seed has."""
    curves = [curve for curve in facts.curves.values() if curve]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return {step: sum(curve[step] for curve in curves) / len(curves) for step in steps}


def ablation_table(ablation: Ablation, context: AblationContext) -> pa.Table:
    """A row per variant, the untrained model last: means with intervals, differences, parameters, steps, published."""
    rows = ablation_rows(ablation, context)
    return pa.Table.from_pylist(rows)


def ablation_rows(ablation: Ablation, context: AblationContext) -> list[dict[str, object]]:
    """The table's rows as plain values."""
    to_baseline = {gap.variant: gap for gap in ablation.to_baseline}
    to_untrained = {gap.variant: gap for gap in ablation.to_untrained}
    rows: list[dict[str, object]] = []
    for row in ablation.rows:
        facts = context.variants.get(row.variant)
        values: dict[str, object] = {
            "variant": row.variant,
            "parameters": facts.parameters if facts else None,
            "steps": list(facts.steps) if facts else [],
            "num_seeds": row.num_seeds,
            "num_images": row.num_images,
            **interval_columns(row.values, ablation.columns),
        }
        for name, gaps in (("to_baseline", to_baseline), ("to_untrained", to_untrained)):
            gap = gaps.get(row.variant)
            own = interval_columns(gap.values if gap else {}, ablation.columns)
            values |= {f"{key}_{name}": value for key, value in own.items()}
            if name == "to_baseline":
                values |= {
                    f"{column}_verdict": ablation.verdict(gap, column) if gap else None
                    for column in ablation.columns
                }
        for metric in ablation.metrics:
            values[f"{metric}_published"] = facts.published.get(metric) if facts else None
        rows.append(values)
    return rows


def validation_curve(points: Sequence[Mapping[str, float]]) -> dict[int, float]:
    """{step: mean over the noise levels of the error with the right reference} of a training's curves.json."""
    by_step: dict[int, list[float]] = {}
    for point in points:
        by_step.setdefault(int(point["step"]), []).append(float(point["right"]))
    return {step: sum(values) / len(values) for step, values in by_step.items()}
