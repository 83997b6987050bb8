"""A planned job on the tiny model, for workers that are called without a pipeline around them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dreamcache.core.config.job import JobSpec
from dreamcache.storage.ledger import Ledger
from jobs.planning.planner import plan
from jobs.reconcile.remaining import find_work
from jobs.spec import parse_spec
from tests.end_to_end.photos import write_catalog
from workers.context import JobContext


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallJob:
    """rows: as `workers.tables.PLANNED`, in plan order."""

    spec: JobSpec
    context: JobContext
    rows: pa.Table


def small_job(folder: Path, model: dict[str, str], catalog: list[dict[str, str]], **changes: Any) -> SmallJob:
    """Plans one image of each product."""
    values = {
        "name": "small",
        "catalog": write_catalog(folder, catalog),
        "output": str(folder / "output"),
        "prompts": ["a {class_name} on sand"],
        "model": model,
        "generation": {"num_inference_steps": 2},
    }
    spec = parse_spec({**values, **changes})
    planned = plan(spec)
    rows = pa.concat_tables(list(find_work(planned, Ledger(spec.output)).windows()))
    return SmallJob(spec=spec, context=JobContext(spec=planned.spec, facts=planned.facts), rows=rows)
