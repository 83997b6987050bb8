"""The manifest: the plan joined with the ledger, one row per planned item; what readers read.

Knows both tables' columns; knows nothing of storage. Works on one window of the plan at a time, by columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.reconcile.join import Window

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
    ("tries", pa.int32()),
    ("image_score", pa.float64()),
    ("text_score", pa.float64()),
    ("verdict", pa.string()),
    ("reference_id", pa.string()),
    ("cache_key", pa.string()),
    ("image", pa.string()),
    ("mask", pa.string()),
]
"""`image` is the reference photo's URI, `uri` the made image's; status is done, blocked, failed or pending. seed: of
the pixels; behind a quality gate that of the try kept. verdict: passed or rejected by the gate, null without one."""

_FROM_PLAN = (
    "item_id",
    "subject_id",
    "class_name",
    "prompt",
    "sample",
    "reference_id",
    "cache_key",
    "image",
    "mask",
)
_FROM_RECORD = (
    "key",
    "code",
    "message",
    "width",
    "height",
    "num_bytes",
    "pixel_sha256",
    "seconds",
    "device",
    "tries",
    "image_score",
    "text_score",
)
HARDLY_REPEATING = (
    "item_id",
    "seed",
    "key",
    "uri",
    "num_bytes",
    "pixel_sha256",
    "seconds",
    "image_score",
    "text_score",
)
"""Columns for which a dictionary would be wasted work."""


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

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)})


def count(windows: Iterable[Window]) -> Counts:
    """Compares a plan with what the ledger has of it."""
    return sum((count_window(window) for window in windows), Counts())


def count_window(window: Window) -> Counts:
    """Of one part of the plan."""
    found = pc.value_counts(pc.fill_null(window.records["status"], "pending")).to_pylist()
    return Counts(
        orphaned=window.orphans.num_rows, **{status["values"]: status["counts"] for status in found}
    )


def column_names(attributes: Iterable[str]) -> dict[str, str]:
    """The manifest's column of each of the catalog's further columns: its own name, with `catalog_` before a
    name that we use ourselves."""
    names = list(attributes)
    ours = {name for name, _ in MANIFEST_COLUMNS}
    found = {}
    for name in names:
        column = name
        while column in ours or (column != name and column in names):
            column = f"catalog_{column}"
        found[name] = column
    return found


def manifest_schema(attributes: Sequence[str]) -> pa.schema:
    """Our columns, then the catalog's."""
    return pa.schema(
        [*MANIFEST_COLUMNS, *((name, pa.string()) for name in column_names(attributes).values())]
    )


def build_manifest(window: Window, attributes: Sequence[str], output: str) -> pa.Table:
    """One row per planned row of the window, in its order. attributes: of the whole plan (`Plan.attributes`)."""
    planned, records = window.planned, window.records
    columns: dict[str, Any] = {name: planned[name] for name in _FROM_PLAN}
    columns |= {name: records[name] for name in _FROM_RECORD}
    columns["seed"] = pc.coalesce(records["seed"], planned["seed"])
    verdict = pc.if_else(pc.equal(records["status"], "done"), "passed", "rejected")
    columns["verdict"] = pc.if_else(pc.is_valid(records["tries"]), verdict, pa.scalar(None, pa.string()))
    columns["status"] = pc.fill_null(records["status"], "pending")
    columns["attempts"] = pc.fill_null(records["attempts"], 0)
    columns["uri"] = pc.binary_join_element_wise(output.rstrip("/"), records["key"], "/")
    names = column_names(attributes)
    told = _attributes(planned["attributes"], attributes)
    columns |= {names[name]: told[name] for name in attributes}
    schema = manifest_schema(attributes)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _attributes(column: pa.ChunkedArray, names: Sequence[str]) -> dict[str, pa.Array]:
    """JSON objects as a column for each name. A subject's rows hold the same text, which is parsed once."""
    coded = column.combine_chunks().dictionary_encode()
    objects = [json.loads(text) for text in coded.dictionary.to_pylist()]
    return {name: pa.array([o.get(name) for o in objects], pa.string()).take(coded.indices) for name in names}
