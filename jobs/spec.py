"""The job file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows where a job file's local paths begin; its settings are `dreamcache.core.config.job`. Imports no torch.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError
from jobs.spec_file import SpecFile, anchor, anchor_model


def _anchored(spec: JobSpec, folder: Path) -> JobSpec:
    def anchored(uri: str) -> str:
        return anchor(uri, folder)

    found = replace(
        spec,
        catalog=anchored(spec.catalog),
        output=anchored(spec.output),
        cache=anchored(spec.cache) if spec.cache else None,
        model=replace(
            spec.model,
            base=anchor_model(spec.model.base, folder),
            adapter=anchored(spec.model.adapter) if spec.model.adapter else None,
        ),
    )
    if spec.quality is not None:
        metrics = spec.quality.metrics
        models: dict[str, Any] = {
            name: anchor_model(model, folder) for name, model in metrics.encoders.items()
        }
        found = replace(found, quality=replace(spec.quality, metrics=replace(metrics, **models)))
    _check_outside_catalog(found)
    return found


def _check_outside_catalog(spec: JobSpec) -> None:
    """A folder catalog is read with all below it: images made there would be the next run's products."""

    def folder(uri: str) -> str:
        return (uri if "://" in uri else os.path.normpath(uri)).rstrip("/") + "/"

    for key, place in (("output", spec.output), ("cache", spec.cache_uri)):
        if folder(place).startswith(folder(spec.catalog)):
            raise SpecError(
                f"{key}: must lie outside the catalog's folder '{spec.catalog}', got '{place}'; choose another folder"
            )


_FILE = SpecFile(JobSpec, "job", remedy="'dreamcache init' writes one to start from", anchored=_anchored)
load_spec, parse_spec, dump_spec = _FILE.load, _FILE.parse, _FILE.dump
