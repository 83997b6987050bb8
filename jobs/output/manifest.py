"""The manifest: the plan joined with the ledger, one row per planned item; what readers read.

Knows both tables' columns; knows nothing of storage. Works on one window of the plan at a time, by columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.storage.ledger import LEDGER_SCHEMA
from jobs.output.attributes import COLUMNS as COLUMNS_OF_ATTRIBUTES
from jobs.output.attributes import Attributes
from jobs.output.review_columns import NO_REVIEWS, REVIEW_COLUMNS, ReviewColumns
from jobs.planning.plan_table import PLAN_SCHEMA
from jobs.reconcile.join import Window

ABOUT_THE_ITEM = ("item_id", "subject_id", "class_name", "prompt", "sample", "seed")
AFTER = {"seed": ("seed_text",), "key": ("uri",), "text_score": ("verdict",), "image": ("reference",)}
"""Columns of the manifest alone, by the one that they follow."""
LEFT_OUT = COLUMNS_OF_ATTRIBUTES
"""Columns of plan and ledger that the manifest does not have as they are."""


def _manifest_columns() -> list[tuple[str, pa.DataType]]:
    """What the item is, the ledger's columns, and the rest of the plan's."""
    types = {field.name: field.type for schema in (PLAN_SCHEMA, LEDGER_SCHEMA) for field in schema}
    names = dict.fromkeys([*ABOUT_THE_ITEM, *LEDGER_SCHEMA.names, *PLAN_SCHEMA.names])
    return [
        (column, types.get(column, pa.string()))
        for name in names
        if name not in LEFT_OUT
        for column in (name, *AFTER.get(name, ()))
    ]


MANIFEST_COLUMNS = [*_manifest_columns(), *REVIEW_COLUMNS]
"""`reference`, or `image`, is the reference photo's URI, `uri` the generated image's; status is done, blocked, failed
or pending. seed: of the pixels; behind a quality gate that of the accepted try; seed_text: its digits, for readers
whose numbers have 53 bits. verdict: passed or rejected by the gate, null without one. settings_fingerprint: a key of
settings.json."""
OURS = tuple(name for name, _ in MANIFEST_COLUMNS)

HARDLY_REPEATING = (
    "item_id",
    "seed",
    "seed_text",
    "key",
    "uri",
    "num_bytes",
    "pixel_sha256",
    "seconds",
    "gpu_seconds",
    "image_score",
    "text_score",
)
"""Columns for which a dictionary would be wasted work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Items by state; `orphaned` are records of items that are not in the plan.

    whole_photo: those, of whatever state, whose reference is the whole photo, since no subject was found on it.
    """

    done: int = 0
    blocked: int = 0
    failed: int = 0
    pending: int = 0
    orphaned: int = 0
    whole_photo: int = 0

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
    counts = pc.value_counts(pc.fill_null(window.records["status"], "pending")).to_pylist()
    notes = window.records["segment_note"]
    return Counts(
        orphaned=window.orphans.num_rows,
        whole_photo=len(notes) - notes.null_count,
        **{status["values"]: status["counts"] for status in counts},
    )


def manifest_schema(attributes: Attributes) -> pa.schema:
    """Our columns, then the catalog's as text, then the catalog's as `attr_` with their types."""
    return pa.schema([*(pa.field(name, kind) for name, kind in MANIFEST_COLUMNS), *attributes.fields(OURS)])


def build_manifest(
    window: Window, attributes: Attributes, output: str, reviews: ReviewColumns = NO_REVIEWS
) -> pa.Table:
    """One row per planned row of the window, in its order. attributes: of the whole plan; reviews: as of now."""
    planned, records = window.planned, window.records
    columns: dict[str, Any] = {name: records[name] for name in records.column_names}
    columns |= {name: planned[name] for name in planned.column_names if name not in ("code", "message")}
    columns["seed"] = pc.coalesce(records["seed"], planned["seed"])
    verdict = pc.if_else(pc.equal(records["status"], "done"), "passed", "rejected")
    columns["verdict"] = pc.if_else(pc.is_valid(records["tries"]), verdict, pa.scalar(None, pa.string()))
    columns["status"] = pc.fill_null(records["status"], "pending")
    columns["attempts"] = pc.fill_null(records["attempts"], 0)
    columns["uri"] = pc.binary_join_element_wise(output.rstrip("/"), records["key"], "/")
    columns["seed_text"] = pc.cast(columns["seed"], pa.string())
    columns["reference"] = planned["image"]
    columns |= reviews.columns(columns["item_id"], columns["status"])
    columns |= attributes.columns(planned, OURS)
    schema = manifest_schema(attributes)
    return pa.table([columns[name] for name in schema.names], schema=schema)
