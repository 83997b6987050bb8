"""The tables handed from step to step: dataclasses state their columns. Knows records and Arrow only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from dreamcache.core.records import Int32, Quality, Request
from dreamcache.storage.schema import schema_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRow(Request):
    """A row to run. attempts: the number before this run. code, message: why it cannot run; None for a row that can."""

    attempts: Int32
    code: str | None
    message: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedRow(PlannedRow):
    """A row whose subject's features are known. segment_note: see `core.records.Done`."""

    segment_note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedRow(EncodedRow):
    """A row with its pixels, uint8 [height, width, 3] as bytes, or with an error and none.

    note: of its worker, for the user; None for nearly all.
    """

    rgb: bytes | None = None
    height: Int32 = 0
    width: Int32 = 0
    seconds: float = 0.0
    device: str = ""
    blocked: bool = False
    quality: Quality | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeRow:
    """What the driver receives of each item, to count and to report."""

    item_id: str
    status: str
    code: str | None
    note: str | None


PLANNED = schema_of(PlannedRow)
ENCODED = schema_of(EncodedRow)
GENERATED = schema_of(GeneratedRow)
OUTCOMES = schema_of(OutcomeRow)
NO_PIXELS: dict[str, Any] = {
    field.name: field.default for field in fields(GeneratedRow) if field.name not in PLANNED.names
}
"""The further values of a row that has no image yet."""
