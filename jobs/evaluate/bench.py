"""DreamBench as the catalog of normal jobs: one reference photo and its own prompts for each subject.

Writes `<output>/catalog/catalog.jsonl` with the reference photos beside it, so that a job on other machines finds them.
Knows the benchmark and the catalog's columns; knows nothing of models.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from dreamcache.core.errors import CatalogError
from dreamcache.evaluation.dreambench import Benchmark, BenchSubject, read_dreambench
from dreamcache.storage.open_store import join, store_for
from jobs.evaluate.spec import DreamBenchSpec, EvalSpec


def read_bench(spec: EvalSpec) -> Benchmark | None:
    """The benchmark of the evaluation, if it has one. Raises CatalogError."""
    if spec.dreambench is None:
        return None
    settings = spec.dreambench
    return read_dreambench(
        settings.path,
        subjects=settings.subjects,
        num_prompts=settings.num_prompts,
        words=settings.words,
    )


def write_catalog(spec: EvalSpec, bench: Benchmark) -> str:
    """Writes catalog and references; returns the catalog's URI."""
    assert spec.dreambench is not None
    folder = join(spec.output, "catalog")
    store = store_for(folder)
    lines = []
    for subject in bench.subjects:
        photo = _reference(subject, spec.dreambench)
        name = f"references/{subject.subject_id}{PurePosixPath(photo).suffix.lower()}"
        store.write(join(folder, name), store_for(photo).read(photo))
        row = {
            "subject_id": subject.subject_id,
            "class_name": subject.class_name,
            "image": name,
            "prompts": list(subject.prompts),
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    place = join(folder, "catalog.jsonl")
    store.write(place, ("\n".join(lines) + "\n").encode())
    return place


def _reference(subject: BenchSubject, settings: DreamBenchSpec) -> str:
    if settings.reference >= len(subject.photos):
        raise CatalogError(
            f"dreambench.reference: subject '{subject.subject_id}' has {len(subject.photos)} photos, number "
            f"{settings.reference} (counted from 0) is not among them; choose a smaller one"
        )
    return subject.photos[settings.reference]
