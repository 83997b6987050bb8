"""Columns follow from dataclasses: the tables are what they were, and a new column touches its record alone."""

from __future__ import annotations

from dataclasses import fields, make_dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from dreamcache.core.records import Blocked, Done, Failed, Int32, Quality, Request
from dreamcache.storage import ledger
from dreamcache.storage.ledger import LEDGER_SCHEMA, from_row, to_row
from dreamcache.storage.schema import schema_of, union_of
from jobs.output.manifest import MANIFEST_COLUMNS
from jobs.planning.plan_table import PLAN_SCHEMA
from workers.tables import GENERATED, NO_PIXELS, OUTCOMES, PLANNED

TEXT, NUMBER, LARGE, REAL = pa.string(), pa.int32(), pa.int64(), pa.float64()
REQUEST = [
    ("item_id", TEXT), ("subject_id", TEXT), ("class_name", TEXT), ("reference_id", TEXT), ("cache_key", TEXT),
    ("image", TEXT), ("mask", TEXT), ("prompt", TEXT), ("sample", NUMBER), ("seed", LARGE),
]  # fmt: skip
ERROR = [("code", TEXT), ("message", TEXT)]
TRUTH = [
    ("contrast", REAL), ("completeness", REAL), ("count_difference", NUMBER), ("colour_difference", REAL),
    ("label_words", REAL), ("label_state", TEXT),
]  # fmt: skip
QUALITY = pa.struct([("tries", NUMBER), ("seed", LARGE), ("image_score", REAL), ("text_score", REAL), *TRUTH])
GENERATED_ONLY = [
    ("segment_note", TEXT), ("rgb", pa.binary()), ("height", NUMBER), ("width", NUMBER), ("seconds", REAL),
    ("device", TEXT), ("blocked", pa.bool_()), ("quality", QUALITY), ("note", TEXT),
]  # fmt: skip
LEDGER_2 = pa.schema([
    pa.field("item_id", TEXT, nullable=False),
    pa.field("status", TEXT, nullable=False),
    ("key", TEXT), ("code", TEXT), ("message", TEXT),
    pa.field("attempts", NUMBER, nullable=False),
    ("width", NUMBER), ("height", NUMBER), ("num_bytes", LARGE), ("pixel_sha256", TEXT), ("seconds", REAL),
    ("device", TEXT), ("tries", NUMBER), ("seed", LARGE), ("image_score", REAL), ("text_score", REAL),
    pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
])  # fmt: skip
MANIFEST_OF_0_1 = [
    ("item_id", TEXT), ("subject_id", TEXT), ("class_name", TEXT), ("prompt", TEXT), ("sample", NUMBER),
    ("seed", LARGE), ("status", TEXT), ("key", TEXT), ("uri", TEXT), ("code", TEXT), ("message", TEXT),
    ("attempts", NUMBER), ("width", NUMBER), ("height", NUMBER), ("num_bytes", LARGE), ("pixel_sha256", TEXT),
    ("seconds", REAL), ("device", TEXT), ("tries", NUMBER), ("image_score", REAL), ("text_score", REAL),
    ("verdict", TEXT), ("reference_id", TEXT), ("cache_key", TEXT), ("image", TEXT), ("mask", TEXT),
]  # fmt: skip
REVIEW = ("review", "reviewer", "review_reason", "review_note", "reviewed_at")
ADDED = (
    "overrides", "photo_set", "scene", "typed", "segment_note", "settings_fingerprint", "gpu_seconds", "marks",
    "perceptual_hash", *(name for name, _ in TRUTH),
)  # fmt: skip
"""Columns since then; everything else stays where it was. The manifest has the ledger's `recorded_at` too."""


def without_added(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name not in ADDED])


def test_the_tables_are_what_they_were() -> None:
    assert without_added(schema_of(Request)).equals(pa.schema(REQUEST))
    assert without_added(PLANNED).equals(pa.schema([*REQUEST, ("attempts", NUMBER), *ERROR]))
    assert GENERATED.equals(pa.schema([*PLANNED, *GENERATED_ONLY]))
    assert OUTCOMES.equals(pa.schema([("item_id", TEXT), ("status", TEXT), *ERROR[:1], ("note", TEXT)]))
    assert set(NO_PIXELS) == {name for name, _ in GENERATED_ONLY}
    assert without_added(PLAN_SCHEMA).equals(pa.schema([*REQUEST, *ERROR, ("attributes", TEXT)]))
    assert without_added(LEDGER_SCHEMA).equals(pa.schema([*LEDGER_2, ("subject_id", TEXT)]))
    added = {*ADDED, *REVIEW, "recorded_at", "seed_text", "reference"} - {"typed"}
    assert [column for column in MANIFEST_COLUMNS if column[0] not in added] == MANIFEST_OF_0_1
    assert {name for name, _ in MANIFEST_COLUMNS} >= set(added)


def test_a_new_column_touches_its_record_and_who_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record with one more field has a ledger row with one more column, written and read back by today's code."""

    weighed = make_dataclass(
        "Weighed", [("grams", Int32 | None, None)], bases=(Done,), frozen=True, kw_only=True
    )
    schema = pa.schema(
        [
            *union_of(weighed, Blocked, Failed),
            LEDGER_SCHEMA.field("recorded_at"),
            LEDGER_SCHEMA.field("subject_id"),
        ]
    )
    assert [field for field in schema if field.name not in LEDGER_SCHEMA.names] == [pa.field("grams", NUMBER)]
    monkeypatch.setattr(ledger, "LEDGER_SCHEMA", schema)
    monkeypatch.setitem(ledger.KINDS, "done", weighed)
    done = weighed(item_id="a", key="k", width=1, height=1, num_bytes=1, pixel_sha256="f", grams=7)
    failed = Failed(item_id="b", code="c", message="m")
    rows = [to_row(outcome, datetime.now(UTC)) for outcome in (done, failed)]
    table = pa.Table.from_pylist(rows, schema=schema)
    assert table["grams"].to_pylist() == [7, None]
    assert [from_row(row) for row in table.to_pylist()] == [done, failed]


def test_a_row_of_an_older_release_has_no_value() -> None:
    quality = Quality(tries=2, seed=5)
    blocked = Blocked(item_id="a", code="c", message="m", quality=quality)
    row = to_row(blocked, datetime.now(UTC))
    assert from_row(row) == blocked
    for name in ADDED:
        row.pop(name, None)
    assert from_row(row) == blocked
    assert from_row({**row, "tries": None}) == replace(blocked, quality=None)
    assert [one.name for one in fields(Quality)] == [field.name for field in QUALITY]


def test_types_that_have_no_column_are_refused() -> None:
    strange = make_dataclass("Strange", [("names", list[str])])
    with pytest.raises(TypeError, match=r"field .names.: list.* has no Arrow type"):
        schema_of(strange)


def test_a_column_without_nulls_is_one_that_every_record_must_have() -> None:
    one = make_dataclass("One", [("a", str), ("b", int), ("d", float)])
    two = make_dataclass("Two", [("a", str), ("c", bytes), ("d", float | None)])
    assert union_of(one, two).equals(
        pa.schema([
            pa.field("a", TEXT, nullable=False), ("b", LARGE), ("c", pa.binary()), ("d", REAL),
        ])
    )  # fmt: skip
