"""Writes an evaluation's report: tables, charts, then report.md and report.json, which state that it is complete.

    images.parquet  subjects.parquet  table.parquet  differences.parquet  plots/*.svg
    [sweep.parquet  sheet-*.jpg]  report.md  report.json

Knows the output folder; the numbers come from `dreamcache.evaluation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.evaluation.dreambench import PROMPTS_EACH, PUBLISHED_SAMPLES, PUBLISHED_SUBJECTS, Benchmark
from dreamcache.evaluation.report import (
    ReportContext,
    charts,
    differences_table,
    images_table,
    markdown,
    method_row,
    methods_table,
    subjects_table,
)
from dreamcache.evaluation.summary import ScoredImage, Summary
from dreamcache.storage.open_store import join, store_for
from jobs.evaluate.spec import EvalSpec
from jobs.evaluate.sweep import SweepReport
from jobs.output.folder import json_bytes


def write_report(
    spec: EvalSpec, bench: Benchmark | None, images: Sequence[ScoredImage], summary: Summary
) -> tuple[list[dict[str, Any]], str | None]:
    """Writes all files; returns the table's rows, and the setting that a sweep chose."""
    store = store_for(spec.output)

    def write(key: str, data: bytes) -> None:
        store.write(join(spec.output, *key.split("/")), data)

    write("images.parquet", parquet_bytes(images_table(images)))
    write("subjects.parquet", parquet_bytes(subjects_table(summary)))
    write("table.parquet", parquet_bytes(methods_table(summary)))
    if summary.differences:
        write("differences.parquet", parquet_bytes(differences_table(summary)))
    for name, svg in charts(summary).items():
        write(f"plots/{name}", svg.encode())
    notes, chosen = _notes(spec, bench), None
    pictures: dict[str, str] = {}
    if spec.sweep is not None:
        sweep = SweepReport(spec, spec.sweep, summary)
        notes, chosen = (*notes, sweep.note), sweep.chosen.name if sweep.chosen else None
        write("sweep.parquet", parquet_bytes(sweep.table()))
        for name, svg in sweep.charts().items():
            write(pictures.setdefault(name.removesuffix(".svg"), f"plots/{name}"), svg.encode())
        for name, jpeg in sweep.sheets():
            write(pictures.setdefault(name.removesuffix(".jpg"), name), jpeg)
    context = ReportContext(
        name=spec.name,
        metrics=spec.metrics,
        level=spec.bootstrap.level,
        is_dreambench=bench is not None,
        not_the_papers=(*_not_the_papers(spec, bench), *_not_all(summary, bench), *_unreadable(images)),
        notes=(*notes, *(f"{text}, and are in no mean." for text in _unreadable(images))),
        links=_links(spec),
        pictures=pictures,
    )
    write("report.md", markdown(summary, context).encode())
    rows = [method_row(mean, summary.columns) for mean in summary.methods]
    write("report.json", json_bytes({"name": spec.name, "methods": rows, "chosen": chosen}))
    return rows, chosen


def _not_the_papers(spec: EvalSpec, bench: Benchmark | None) -> tuple[str, ...]:
    """Settings of the benchmark that are not the paper's (docs/method.md section 6), in words."""
    if bench is None or spec.dreambench is None:
        return ()
    settings, given = spec.dreambench, []
    others = sorted({len(subject.prompts) for subject in bench.subjects} - {PROMPTS_EACH})
    if others:
        given.append(f"{' or '.join(map(str, others))} prompts of a subject instead of {PROMPTS_EACH}")
    if settings.samples != PUBLISHED_SAMPLES:
        given.append(f"{settings.samples} images of each prompt instead of {PUBLISHED_SAMPLES}")
    if len(bench.subjects) != PUBLISHED_SUBJECTS:
        given.append(f"{len(bench.subjects)} of the {PUBLISHED_SUBJECTS} subjects")
    if spec.real is not None:
        given.append(f"real photos of {spec.real}")
    return tuple(given)


def _not_all(summary: Summary, bench: Benchmark | None) -> tuple[str, ...]:
    """Methods whose scored images are not all that the paper's table has, in words."""
    if bench is None:
        return ()
    wanted = len(bench.subjects) * PROMPTS_EACH * PUBLISHED_SAMPLES
    return tuple(
        f"{mean.method} has {mean.num_scored} scored images instead of {wanted}"
        for mean in summary.methods
        if mean.num_scored != wanted
    )


def _unreadable(images: Sequence[ScoredImage]) -> tuple[str, ...]:
    """Real photos that could not be read, in words; none where all could."""
    most: dict[str, int] = {}
    for image in images:
        most[image.subject_id] = max(most.get(image.subject_id, 0), image.score.num_real_unreadable)
    named = [f"{subject} {count}" for subject, count in sorted(most.items()) if count]
    return (f"some real photos could not be read ({', '.join(named)})",) if named else ()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _notes(spec: EvalSpec, bench: Benchmark | None) -> tuple[str, ...]:
    if bench is None or spec.dreambench is None:
        return ()
    settings = spec.dreambench
    num_subjects, prompts = len(bench.subjects), max(len(subject.prompts) for subject in bench.subjects)
    live = sum(subject.is_live for subject in bench.subjects)
    note = (
        f"DreamBench: {num_subjects} of the {PUBLISHED_SUBJECTS} published subjects "
        f"(things: {num_subjects - live}, animals: {live}), "
        f"prompts of each: {prompts}, images of each prompt: {settings.samples}, photo number {settings.reference} is "
        f"the reference; "
        f"every image is compared with all real photos of its subject."
    )
    return (note,)


def _links(spec: EvalSpec) -> dict[str, str]:
    runs = [method for method in spec.lines() if method.runs]
    return {f"Gallery of {method.name}": f"jobs/{method.slug}/gallery/index.html" for method in runs}
