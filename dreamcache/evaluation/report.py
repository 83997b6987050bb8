"""The report of an evaluation: the paper's table as Markdown, the same numbers as Arrow tables, and its charts.

Published numbers appear beside ours only where encoders, segmenter and benchmark settings are the paper's; otherwise
the report states that its numbers compare within itself alone, or why none stand beside them. Knows summaries; knows
nothing of storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from dreamcache.core.config.evaluate import METRICS, TITLES, MetricSettings
from dreamcache.evaluation.dreambench import PROMPTS_EACH, PUBLISHED_SUBJECTS
from dreamcache.evaluation.plot import interval_chart, subject_chart
from dreamcache.evaluation.summary import Difference, MethodMean, ScoredImage, Summary, title_of
from dreamcache.evaluation.tables import interval_columns, interval_text, markdown_table

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
    """What the report states besides its numbers. links, pictures: title -> address relative to the report.

    is_dreambench: whether images are of DreamBench's subjects and prompts. not_the_papers: settings of the benchmark
    that differ from the paper's, for which published numbers are withheld.
    """

    name: str
    metrics: MetricSettings
    level: float
    is_dreambench: bool = False
    not_the_papers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)


def markdown(summary: Summary, context: ReportContext) -> str:
    """report.md."""
    parts = [f"# Evaluation: {context.name}", models_line(context.metrics)]
    paper = context.metrics.are_the_papers and context.is_dreambench
    withheld = context.not_the_papers if paper else ()
    if not context.metrics.are_the_papers:
        parts.append(NOT_COMPARABLE + (f" {MINI_NOTE}" if context.metrics.clip == "mini" else ""))
    parts += list(context.notes)
    parts += [f"![{title}]({address})" for title, address in context.pictures.items()]
    parts.append(
        f"Means over subjects, with {context.level:.0%} bootstrap intervals over subjects; (n) is the number of "
        "subjects that have the metric. One subject has no interval. Higher is better."
    )
    parts.append(markdown_table(_head(summary), [_row(mean, summary.columns) for mean in summary.methods]))
    if paper and not withheld:
        parts.append(_published(summary, context.metrics))
    if withheld:
        parts.append(f"Published numbers are not shown: {'; '.join(withheld)}.")
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
            ("sample", pa.int32()),
        ]
    )
    rows = []
    for image in images:
        score = asdict(image.score)
        values = score.pop("values")
        own = {name: getattr(image, name) for name in schema.names[:5]}
        rows.append(
            {**own, **score, **{metric: values.get(metric) for metric in METRICS}, "sample": image.sample}
        )
    return pa.Table.from_pylist(rows, schema=schema)


def subjects_table(summary: Summary) -> pa.Table:
    """A row per method and subject."""
    return pa.Table.from_pylist(
        [
            {
                "method": mean.method,
                "subject_id": mean.subject_id,
                "class_name": mean.class_name,
                **{column: mean.values.get(column) for column in summary.columns},
                "num_scored": mean.num_scored,
                "num_failed": mean.num_failed,
                "num_not_found": mean.num_not_found,
            }
            for mean in summary.subjects
        ]
    )


def methods_table(summary: Summary) -> pa.Table:
    """A row per method: mean, low, high and number of subjects of each metric."""
    return pa.Table.from_pylist([method_row(mean, summary.columns) for mean in summary.methods])


def differences_table(summary: Summary) -> pa.Table:
    """A row per difference to the first method, also where nothing could be paired."""
    rows = []
    for one in summary.differences:
        counts = {name: getattr(one, name) for name in ("num_subjects", "num_images", "by_subject")}
        rows.append(
            {
                "method": one.method,
                "other": one.other,
                **interval_columns(one.values, summary.columns),
                **counts,
            }
        )
    return pa.Table.from_pylist(rows)


def method_row(mean: MethodMean, metrics: tuple[str, ...]) -> dict[str, object]:
    """A method's row of the table as plain values."""
    row: dict[str, object] = {"method": mean.method, **interval_columns(mean.values, metrics)}
    counts = ("num_subjects", "num_scored", "num_failed", "num_not_found", "num_missing")
    return {**row, **{name: getattr(mean, name) for name in counts}}


def models_line(metrics: MetricSettings) -> str:
    """The line that names encoders and segmenter."""
    named = "; ".join(f"{name}: `{model}`" for name, model in metrics.encoders.items())
    segments = f"masked by `{metrics.segmenter}`" if metrics.segmenter else "no masked metrics"
    return f"Encoders: {named}; {segments}."


def _head(summary: Summary) -> list[str]:
    return ["method", "subjects", "images", *(title_of(column) for column in summary.columns)]


def _row(mean: MethodMean, metrics: tuple[str, ...]) -> list[str]:
    counts = [mean.method, str(mean.num_subjects), str(mean.num_scored)]
    return [*counts, *(interval_text(mean.values.get(metric)) for metric in metrics)]


def _published(summary: Summary, metrics: MetricSettings) -> str:
    parts = [
        f"Published, for comparison ({PUBLISHED_SUBJECTS} subjects, {PROMPTS_EACH} prompts, 4 images each; ours are of "
        f"the subjects and images counted above):"
    ]
    for numbers in (PUBLISHED, PUBLISHED_MASKED) if metrics.has_the_papers_segmenter else (PUBLISHED,):
        columns = [metric for metric in summary.metrics if metric in next(iter(numbers.values()))]
        if columns:
            rows = [[name, *(f"{row[metric]:.3f}" for metric in columns)] for name, row in numbers.items()]
            parts.append(markdown_table(["published", *(TITLES[metric] for metric in columns)], rows))
    return "\n\n".join(parts)


def _not_found(summary: Summary) -> str:
    lines = []
    for mean in summary.methods:
        if mean.num_not_found:
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(mean.reasons.items()))
            lines.append(
                f"- {mean.method}: {mean.num_not_found} of {mean.num_scored} images have no segment to compare and "
                f'are in no masked mean ({why}); columns with "misses 0" count those without a segment as 0'
            )
        if mean.num_failed or mean.num_missing:
            lines.append(
                f"- {mean.method}: {mean.num_failed} images could not be scored, {mean.num_missing} planned images "
                f"are not there; see `images.parquet`"
            )
    return "\n".join(lines)


def _differences(summary: Summary) -> str:
    paired = [one for one in summary.differences if one.values]
    rows = [
        [
            f"{one.method} - {one.other}",
            str(one.num_subjects),
            str(one.num_images),
            *(interval_text(one.values.get(column)) for column in summary.columns),
        ]
        for one in paired
    ]
    head = ["difference, paired by subject, prompt and sample", "subjects", "pairs"]
    head += [title_of(column) for column in summary.columns]
    notes = [line for one in summary.differences if (line := _pairing_note(one))]
    return "\n\n".join(
        [*([markdown_table(head, rows)] if rows else []), *(["\n".join(notes)] if notes else [])]
    )


def _pairing_note(one: Difference) -> str:
    if not one.values:
        return (
            f"- {one.method} and {one.other} have no image of the same subject, prompt and sample: their rows above "
            f"are of different pictures and do not compare"
        )
    if one.by_subject:
        return f"- {one.method} - {one.other}: prompts of one side are not known, whole subjects are compared"
    return ""


def _charts(summary: Summary) -> str:
    return "\n".join(f"![{name.removesuffix('.svg')}](plots/{name})" for name in charts(summary))


def _subjects(summary: Summary) -> str:
    head = ["subject", "method", "images", "not found", *(title_of(column) for column in summary.columns)]
    order = {subject: i for i, subject in enumerate(dict.fromkeys(m.subject_id for m in summary.subjects))}
    rows = []
    for mean in sorted(summary.subjects, key=lambda mean: order[mean.subject_id])[:500]:
        values = [mean.values.get(column) for column in summary.columns]
        cells = ["-" if value is None else f"{value:.3f}" for value in values]
        rows.append([mean.subject_id, mean.method, str(mean.num_scored), str(mean.num_not_found), *cells])
    more = len(summary.subjects) - len(rows)
    tail = f"\n\n... and {more} more rows in `subjects.parquet`" if more else ""
    return "## By subject\n\n" + markdown_table(head, rows) + tail
