"""The report of an evaluation: the paper's table as Markdown, the same numbers as Arrow tables, and its charts.

Published numbers appear beside ours only where the encoders are the paper's; otherwise the report states that its
numbers compare within itself alone. Knows summaries; knows nothing of storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from dreamcache.core.config.evaluate import METRICS, TITLES, MetricSettings
from dreamcache.evaluation.bootstrap import Interval
from dreamcache.evaluation.dreambench import PROMPTS_EACH, PUBLISHED_SUBJECTS
from dreamcache.evaluation.plot import interval_chart, subject_chart
from dreamcache.evaluation.summary import MethodMean, ScoredImage, Summary

# The paper's DreamBench numbers (docs/method.md section 6), shown beside ours where the encoders are the same.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "DreamCache (SD 2.1)": {"dino": 0.767, "clip_i": 0.816, "clip_t": 0.301},
    "DreamCache (SD 1.5)": {"dino": 0.713, "clip_i": 0.810, "clip_t": 0.298},
    "IP-Adapter (SD 1.5)": {"dino": 0.667, "clip_i": 0.813, "clip_t": 0.289},
    "Kosmos-G (SD 1.5)": {"dino": 0.694, "clip_i": 0.847, "clip_t": 0.287},
    "JeDi (SD 1.5)": {"dino": 0.619, "clip_i": 0.782, "clip_t": 0.304},
    "BLIP-Diffusion (SD 1.5)": {"dino": 0.594, "clip_i": 0.779, "clip_t": 0.300},
    "BootPIG (SD 2.1)": {"dino": 0.674, "clip_i": 0.797, "clip_t": 0.311},
    "DreamBooth (SD 1.5)": {"dino": 0.668, "clip_i": 0.803, "clip_t": 0.305},
}

PUBLISHED_MASKED: Mapping[str, Mapping[str, float]] = {
    "DreamBooth": {"mclip_i": 0.868, "mdino": 0.712},
    "Custom Diffusion": {"mclip_i": 0.864, "mdino": 0.711},
    "JeDi": {"mclip_i": 0.876, "mdino": 0.751},
    "BLIP-Diffusion": {"mclip_i": 0.862, "mdino": 0.669},
    "ELITE": {"mclip_i": 0.861, "mdino": 0.681},
    "Toffee-5M": {"mclip_i": 0.874, "mdino": 0.803},
    "DreamCache": {"mclip_i": 0.906, "mdino": 0.837},
}

NOT_COMPARABLE = (
    "**These numbers compare within this report only.** They were not measured with the paper's encoders "
    "(CLIP ViT-B/32, DINO ViT-S/16), so they say nothing beside published ones."
)
MINI_NOTE = (
    "`mini` is the embedded model's own CLIP: 64 px, trained on rendered products only. It compares the methods "
    "on this page; it does not measure photos."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContext:
    """What the report states besides its numbers. links, pictures: title -> address relative to the report."""

    name: str
    metrics: MetricSettings
    level: float
    is_dreambench: bool = False
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)


def markdown(summary: Summary, context: ReportContext) -> str:
    """report.md."""
    parts = [f"# Evaluation: {context.name}", _models(context.metrics)]
    paper = context.metrics.are_the_papers and context.is_dreambench
    if not context.metrics.are_the_papers:
        parts.append(NOT_COMPARABLE + (f" {MINI_NOTE}" if context.metrics.clip == "mini" else ""))
    parts += list(context.notes)
    parts += [f"![{title}]({address})" for title, address in context.pictures.items()]
    parts.append(
        f"Means over subjects, with {context.level:.0%} bootstrap intervals over subjects. Higher is better."
    )
    parts.append(_table(_head(summary), [_row(mean, summary.metrics) for mean in summary.methods]))
    if paper:
        parts.append(_published(summary))
    parts += [_not_found(summary), _differences(summary), _charts(summary)]
    if context.links:
        parts.append("\n".join(f"- [{title}]({address})" for title, address in context.links.items()))
    parts.append(_subjects(summary))
    return "\n\n".join(part for part in parts if part) + "\n"


def charts(summary: Summary) -> dict[str, str]:
    """SVG by file name."""
    files: dict[str, str] = {}
    for metric in summary.metrics:
        rows = {mean.method: mean.values[metric] for mean in summary.methods if metric in mean.values}
        if rows:
            files[f"{metric}.svg"] = interval_chart(TITLES[metric], rows)
        by_subject: dict[str, dict[str, float]] = {}
        for mean in summary.subjects:
            if metric in mean.values:
                by_subject.setdefault(mean.subject_id, {})[mean.method] = mean.values[metric]
        if len(by_subject) > 1:
            files[f"{metric}-subjects.svg"] = subject_chart(f"{TITLES[metric]} by subject", by_subject)
    return files


def images_table(images: Sequence[ScoredImage]) -> pa.Table:
    """A row per image."""
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("method", "subject_id", "class_name", "prompt", "image")),
            *((metric, pa.float64()) for metric in METRICS),
            ("found", pa.bool_()),
            *((name, pa.string()) for name in ("reason", "code", "message")),
            *((name, pa.int32()) for name in ("num_real", "num_real_found", "num_real_unreadable")),
            ("score_id", pa.string()),
        ]
    )
    rows = []
    for image in images:
        score = asdict(image.score)
        values = score.pop("values")
        own = {name: getattr(image, name) for name in schema.names[:5]}
        rows.append({**own, **score, **{metric: values.get(metric) for metric in METRICS}})
    return pa.Table.from_pylist(rows, schema=schema)


def subjects_table(summary: Summary) -> pa.Table:
    """A row per method and subject."""
    return pa.Table.from_pylist(
        [
            {
                "method": mean.method,
                "subject_id": mean.subject_id,
                "class_name": mean.class_name,
                **{metric: mean.values.get(metric) for metric in summary.metrics},
                "num_scored": mean.num_scored,
                "num_failed": mean.num_failed,
                "num_not_found": mean.num_not_found,
            }
            for mean in summary.subjects
        ]
    )


def methods_table(summary: Summary) -> pa.Table:
    """A row per method: mean, low and high of each metric."""
    return pa.Table.from_pylist([method_row(mean, summary.metrics) for mean in summary.methods])


def method_row(mean: MethodMean, metrics: tuple[str, ...]) -> dict[str, object]:
    """A method's row of the table as plain values."""
    row: dict[str, object] = {"method": mean.method}
    for metric in metrics:
        value = mean.values.get(metric)
        row[metric] = value.mean if value else None
        row[f"{metric}_low"] = value.low if value else None
        row[f"{metric}_high"] = value.high if value else None
    counts = ("num_subjects", "num_scored", "num_failed", "num_not_found", "num_missing")
    return {**row, **{name: getattr(mean, name) for name in counts}}


def _models(metrics: MetricSettings) -> str:
    named = "; ".join(f"{name}: `{model}`" for name, model in metrics.encoders.items())
    segments = f"masked by `{metrics.segmenter}`" if metrics.segmenter else "no masked metrics"
    return f"Encoders: {named}; {segments}."


def _head(summary: Summary) -> list[str]:
    return ["method", "subjects", "images", *(TITLES[metric] for metric in summary.metrics)]


def _row(mean: MethodMean, metrics: tuple[str, ...]) -> list[str]:
    counts = [mean.method, str(mean.num_subjects), str(mean.num_scored)]
    return [*counts, *(_interval(mean.values.get(metric)) for metric in metrics)]


def _published(summary: Summary) -> str:
    parts = [
        f"Published, for comparison ({PUBLISHED_SUBJECTS} subjects, {PROMPTS_EACH} prompts, 4 images each; ours are of "
        f"the subjects and images counted above):"
    ]
    for numbers in (PUBLISHED, PUBLISHED_MASKED):
        columns = [metric for metric in summary.metrics if metric in next(iter(numbers.values()))]
        if columns:
            rows = [[name, *(f"{row[metric]:.3f}" for metric in columns)] for name, row in numbers.items()]
            parts.append(_table(["published", *(TITLES[metric] for metric in columns)], rows))
    return "\n\n".join(parts)


def _not_found(summary: Summary) -> str:
    lines = []
    for mean in summary.methods:
        if mean.num_not_found:
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(mean.reasons.items()))
            lines.append(
                f"- {mean.method}: {mean.num_not_found} of {mean.num_scored} images have no segment to compare and "
                f"are in no masked mean ({why})"
            )
        if mean.num_failed or mean.num_missing:
            lines.append(
                f"- {mean.method}: {mean.num_failed} images could not be scored, {mean.num_missing} planned images "
                f"are not there; see `images.parquet`"
            )
    return "\n".join(lines)


def _differences(summary: Summary) -> str:
    rows = [
        [
            f"{one.method} - {one.other}",
            str(one.num_subjects),
            *(_interval(one.values.get(m)) for m in summary.metrics),
        ]
        for one in summary.differences
    ]
    head = ["difference, paired by subject", "subjects", *(TITLES[metric] for metric in summary.metrics)]
    return _table(head, rows) if rows else ""


def _charts(summary: Summary) -> str:
    return "\n".join(f"![{name.removesuffix('.svg')}](plots/{name})" for name in charts(summary))


def _subjects(summary: Summary) -> str:
    head = ["subject", "method", "images", "not found", *(TITLES[metric] for metric in summary.metrics)]
    order = {subject: i for i, subject in enumerate(dict.fromkeys(m.subject_id for m in summary.subjects))}
    rows = []
    for mean in sorted(summary.subjects, key=lambda mean: order[mean.subject_id])[:500]:
        values = [mean.values.get(metric) for metric in summary.metrics]
        cells = ["-" if value is None else f"{value:.3f}" for value in values]
        rows.append([mean.subject_id, mean.method, str(mean.num_scored), str(mean.num_not_found), *cells])
    more = len(summary.subjects) - len(rows)
    tail = f"\n\n... and {more} more rows in `subjects.parquet`" if more else ""
    return "## By subject\n\n" + _table(head, rows) + tail


def _interval(value: Interval | None) -> str:
    return "-" if value is None else f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
