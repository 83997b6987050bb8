"""Writes an ablation's report, and reads what its trainings' folders state of each variant.

    report.md  table.parquet  plots/*.svg  report.json      the last states that the report is complete

Knows the output folders; the numbers come from `dreamcache.evaluation.ablation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.evaluation.ablation import Arm, ablation_of
from dreamcache.evaluation.ablation_report import (
    AblationContext,
    VariantFacts,
    ablation_charts,
    ablation_markdown,
    ablation_rows,
    ablation_table,
    validation_curve,
)
from dreamcache.evaluation.summary import ScoredImage
from dreamcache.storage.json_object import MAX_BYTES, parse_object
from dreamcache.storage.models.adapter import ADAPTER_WEIGHTS, REFERENCE_UNET, local_adapter
from dreamcache.storage.models.weights import read_header
from dreamcache.storage.open_store import join, read_bounded, store_for
from jobs.ablate.spec import UNTRAINED, AblateSpec, VariantSpec
from jobs.evaluate.report import parquet_bytes
from jobs.output.folder import json_bytes


def variant_facts(spec: AblateSpec, variant: VariantSpec) -> VariantFacts:
    """What the trainings of a variant left in their folders. Raises StorageError for a missing or damaged adapter."""
    steps, curves, parameters = [], {}, 0
    for seed in spec.seeds:
        output = spec.training_of(Arm(variant=variant.name, seed=seed)).output
        adapter = join(output, "adapter")
        config = _json(join(adapter, "config.json"))
        steps.append(int(config.get("step", 0)))
        parameters = _trained_parameters(adapter)
        try:
            curves[seed] = validation_curve(_json(join(output, "curves.json")).get("validation", []))
        except (DreamCacheError, KeyError, TypeError, ValueError):
            curves[seed] = {}  # the curves are for people
    return VariantFacts(
        parameters=parameters, steps=tuple(steps), curves=curves, published=dict(variant.published)
    )


def _trained_parameters(adapter: str) -> int:
    """Numbers that were trained: the adapter's, and those of a U-Net that reads references for it."""
    folder = local_adapter(adapter)
    files = [folder / name for name in (ADAPTER_WEIGHTS, REFERENCE_UNET) if (folder / name).is_file()]
    return sum(math.prod(tensor.shape) for file in files for tensor in read_header(file).values())


def _json(uri: str) -> dict[str, Any]:
    try:
        return dict(parse_object(read_bounded(uri, MAX_BYTES)))
    except (FileNotFoundError, ValueError) as error:
        raise StorageError(
            f"{uri}: must be what a training wrote, got {type(error).__name__}; delete that training's folder and run "
            f"the ablation again"
        ) from error


def write_report(
    spec: AblateSpec, images: Sequence[ScoredImage], facts: Mapping[str, VariantFacts]
) -> list[dict[str, object]]:
    """Writes all files; returns the table's rows."""
    evaluation = spec.evaluation_of()
    ablation = ablation_of(images, spec.arms(), UNTRAINED, evaluation.metrics.metrics, evaluation.bootstrap)
    context = AblationContext(
        name=spec.name,
        metrics=evaluation.metrics,
        level=evaluation.bootstrap.level,
        seeds=spec.seeds,
        variants=facts,
        published_from=spec.published_from,
        untrained=UNTRAINED,
    )
    store = store_for(spec.output)

    def write(key: str, data: bytes) -> None:
        store.write(join(spec.output, *key.split("/")), data)

    write("table.parquet", parquet_bytes(ablation_table(ablation, context)))
    for name, svg in ablation_charts(ablation, context).items():
        write(f"plots/{name}", svg.encode())
    write("report.md", ablation_markdown(ablation, context).encode())
    rows = ablation_rows(ablation, context)
    write("report.json", json_bytes({"name": spec.name, "variants": rows}))
    return rows
