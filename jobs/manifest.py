"""The manifest: the plan joined with the ledger, one row per planned item; what readers read.

Knows both tables' columns; knows nothing of storage.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dreamcache.records import Done, Outcome

MANIFEST_COLUMNS = [
    ("item_id", pa.string()),
    ("subject_id", pa.string()),
    ("class_name", pa.string()),
    ("prompt", pa.string()),
    ("sample", pa.int32()),
    ("seed", pa.int64()),
    ("status", pa.string()),
    ("key", pa.string()),
    ("uri", pa.string()),
    ("code", pa.string()),
    ("message", pa.string()),
    ("attempts", pa.int32()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("num_bytes", pa.int64()),
    ("pixel_sha256", pa.string()),
    ("seconds", pa.float64()),
    ("device", pa.string()),
    ("reference_id", pa.string()),
    ("cache_key", pa.string()),
    ("image", pa.string()),
    ("mask", pa.string()),
]
"""`image` is the reference photo's URI, `uri` the made image's; status is done, blocked, failed or pending."""

_FROM_PLAN = (
    "item_id",
    "subject_id",
    "class_name",
    "prompt",
    "sample",
    "seed",
    "reference_id",
    "cache_key",
    "image",
    "mask",
)
_FROM_DONE = ("key", "width", "height", "num_bytes", "pixel_sha256", "seconds", "device")


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Items by state; `orphaned` are records of items that the plan has no more."""

    done: int = 0
    blocked: int = 0
    failed: int = 0
    pending: int = 0
    orphaned: int = 0

    @property
    def total(self) -> int:
        return self.done + self.blocked + self.failed + self.pending


def count(item_ids: list[str], outcomes: Mapping[str, Outcome]) -> Counts:
    """Compares a plan with what the ledger has of it."""
    planned = set(item_ids)
    found = Counter(outcomes[ident].status if ident in outcomes else "pending" for ident in item_ids)
    return Counts(
        done=found["done"],
        blocked=found["blocked"],
        failed=found["failed"],
        pending=found["pending"],
        orphaned=sum(ident not in planned for ident in outcomes),
    )


def build_manifest(plan: pa.Table, outcomes: Mapping[str, Outcome], output: str) -> pa.Table:
    """One row per plan row, in its order; the catalog's further columns follow ours, with `catalog_` before a
    name that we use ourselves."""
    ours = {name for name, _ in MANIFEST_COLUMNS}
    extra: dict[str, None] = {}
    rows = []
    for planned in plan.to_pylist():
        row = {name: planned[name] for name in _FROM_PLAN}
        row.update(_of_outcome(outcomes.get(planned["item_id"]), output))
        attributes = json.loads(planned["attributes"])
        for name, value in attributes.items():
            column = name
            while column in ours or (column != name and column in attributes):
                column = f"catalog_{column}"
            extra[column] = None
            row[column] = value
        rows.append(row)
    schema = pa.schema([*MANIFEST_COLUMNS, *((name, pa.string()) for name in extra)])
    return pa.Table.from_pylist(rows, schema=schema)


def _of_outcome(outcome: Outcome | None, output: str) -> dict[str, Any]:
    if outcome is None:
        return {"status": "pending", "attempts": 0}
    columns: dict[str, Any] = {"status": outcome.status, "attempts": outcome.attempts}
    if isinstance(outcome, Done):
        columns.update({name: getattr(outcome, name) for name in _FROM_DONE})
        columns["uri"] = f"{output.rstrip('/')}/{outcome.key}"
    else:
        columns.update(code=outcome.code, message=outcome.message)
    return columns
