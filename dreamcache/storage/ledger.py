"""The ledger of a job: terminal records of items, a log of parts (`part_log`).

    workers --append--> ledger/part-<hash>.parquet --scan--> tables --resolve--> item_id -> one Outcome
                             |                          |
                             +- compaction: fewer parts +- pruned: records of images that were deleted

Several drivers and attempts may record the same item; `resolve` decides alike for every reader. A part may go
while it is being read, but not its records: see `compaction` for the protocol. Knows records; not who generates images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids
from dreamcache.core.records import Blocked, Done, Failed, Outcome, Quality
from dreamcache.storage.item_keys import wrong_key
from dreamcache.storage.part_log import LogSettings, PartFormat, PartLog
from dreamcache.storage.pruned import MAX_ATTEMPTS, Pruned, counts_attempts
from dreamcache.storage.schema import union_of
from dreamcache.storage.store import ObjectInfo, join

STATUS_ORDER = ("failed", "blocked", "done")
STATED: Mapping[str, tuple[str, ...]] = {
    "done": ("key", "width", "height", "num_bytes", "pixel_sha256"),
    "blocked": ("code", "message"),
    "failed": ("code", "message"),
}
"""Columns without which a record of this status says nothing."""


def wrong_row(table: pa.Table) -> str | None:
    """What is wrong with a part's rows, after "one that ..."; None if all are right."""
    if pc.any(pc.is_null(pc.index_in(table["status"], pa.array(STATUS_ORDER)))).as_py():
        return f"has a status that is none of {', '.join(STATUS_ORDER)}"
    if not counts_attempts(table):
        return f"has a number of attempts that is not 0 to {MAX_ATTEMPTS:,}"
    for status, columns in STATED.items():
        rows = table.filter(pc.equal(table["status"], status))
        lacking = [name for name in columns if rows[name].null_count]
        if lacking:
            return f"has {status} items without {lacking[0]}"
    return wrong_key(table)


RECORDED_AT = pa.schema([pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False)])
SUBJECT = pa.schema([pa.field("subject_id", pa.string())])
"""Whose image it is, for the time when no plan has the item any more; null where nobody has recorded it."""
LEDGER_SCHEMA = pa.schema([*union_of(Done, Blocked, Failed), *RECORDED_AT, *SUBJECT])
LEDGER_LOG = LogSettings(
    format=PartFormat(family="dreamcache.ledger/", number=2, schema=LEDGER_SCHEMA),
    what="a ledger part",
    code="bad_ledger",
    remedy="delete it to generate its items again, or restore it from a copy",
    problem=wrong_row,
)
KINDS: dict[str, type[Outcome]] = {"failed": Failed, "blocked": Blocked, "done": Done}
_OF_QUALITY = tuple(field.name for field in fields(Quality))


def to_row(outcome: Outcome, recorded_at: datetime | None = None) -> dict[str, Any]:
    """An outcome's row of LEDGER_SCHEMA, null where its kind has no such column. recorded_at: now by default."""
    row: dict[str, Any] = {name: getattr(outcome, name, None) for name in LEDGER_SCHEMA.names}
    row["recorded_at"] = recorded_at or datetime.now(UTC)
    row |= {name: getattr(getattr(outcome, "quality", None), name, None) for name in _OF_QUALITY}
    return row


def from_row(row: Mapping[str, Any]) -> Outcome:
    """The outcome of a row. ValueError for an unknown status."""
    if row["status"] not in KINDS:
        raise ValueError(f"status must be one of {', '.join(STATUS_ORDER)}, got {row['status']!r}")
    kind = KINDS[row["status"]]
    values: dict[str, Any] = {field.name: row.get(field.name) for field in fields(kind)}
    if "quality" in values and row["tries"] is not None:
        scores: dict[str, Any] = {name: row.get(name) for name in _OF_QUALITY}
        values["quality"] = Quality(**scores)
    return kind(**values)


class Ledger:
    """The ledger below one job's output. Picklable. StorageError when the location cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.log = PartLog(join(output_uri, "ledger"), LEDGER_LOG)
        self.pruned = Pruned(output_uri)

    @property
    def uri(self) -> str:
        return self.log.uri

    def append(
        self,
        outcomes: Sequence[Outcome],
        recorded_at: datetime | None = None,
        *,
        subjects: Mapping[str, str] | None = None,
    ) -> str | None:
        """Write one part and return its URI; None for no outcomes. Repeating an append changes nothing.

        subjects: the subject_id of each item, for who prunes images later.
        The name is a hash of the items, their attempts and how they ended: the same work recorded by another driver
        is the same part, and the first one stays.
        """
        if not outcomes:
            return None
        now = recorded_at or datetime.now(UTC)
        ordered = sorted(outcomes, key=lambda o: (o.item_id, o.attempts, o.status, getattr(o, "code", "")))
        named = [[o.item_id, o.attempts, o.status, getattr(o, "code", "")] for o in ordered]
        whose = subjects or {}
        rows = [{**to_row(outcome, now), "subject_id": whose.get(outcome.item_id)} for outcome in ordered]
        table = pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA)
        return self.log.append(ids.of_values("ledger-part", outcomes=named), table)

    def parts(self) -> list[ObjectInfo]:
        """The parts there are now, in order of their names."""
        return self.log.parts()

    def scan(self, seen: set[str] | None = None) -> Iterator[pa.Table]:
        """`PartLog.scan` without the records of pruned images. StorageError `bad_ledger` when a part is damaged."""
        void = self.pruned.limits()
        return (without_pruned(table, void) for table in self.log.scan(seen))

    def outcomes(self) -> dict[str, Outcome]:
        """The one terminal record of every item recorded so far. In memory: for jobs of modest size."""
        return resolve(self.scan())

    def read_part(self, uri: str) -> pa.Table | None:
        """The part's rows; None when it is there no more. StorageError `bad_ledger` when it is damaged."""
        return self.log.read(uri)


def to_bytes(table: pa.Table) -> bytes:
    """A part's file."""
    return LEDGER_LOG.format.seal(table)


def without_pruned(table: pa.Table, void: Mapping[str, int]) -> pa.Table:
    """The rows that count: a pruned item's attempts up to its limit in `void` do not."""
    if not void:
        return table
    limits = [void.get(item_id, -1) for item_id in table["item_id"].to_pylist()]
    return table.filter(pc.greater(table["attempts"], pa.array(limits, pa.int32())))


def resolve_table(tables: Iterable[pa.Table]) -> pa.Table:
    """One row per item, sorted by item: done before blocked before failed, then most attempts, then latest.

    What is still equal is decided by the further columns, so the order of tables and rows never matters.
    """
    table = in_order(tables)
    return table.filter(pa.array(_first_of_runs(table["item_id"])))


def distinct_table(tables: Iterable[pa.Table]) -> pa.Table:
    """Every end of every attempt, without repetitions, in the order of `resolve_table`."""
    table = in_order(tables)
    first = [_first_of_runs(table[name]) for name in ("item_id", "status", "attempts", "code")]
    return table.filter(pa.array(np.logical_or.reduce(first)))


def in_order(tables: Iterable[pa.Table]) -> pa.Table:
    """All rows, by item, each item's best record first. ValueError for an unknown status."""
    table = pa.concat_tables([LEDGER_SCHEMA.empty_table(), *tables])
    rank = pc.index_in(table["status"], pa.array(STATUS_ORDER))
    if rank.null_count:
        raise ValueError(f"status must be one of {', '.join(STATUS_ORDER)}, got {pc.unique(table['status'])}")
    if pc.count_distinct(table["item_id"]).as_py() == table.num_rows:
        return table.sort_by("item_id").combine_chunks()  # as nearly always; the rest would decide nothing
    rest = [
        name for name in LEDGER_SCHEMA.names if name not in ("item_id", "status", "attempts", "recorded_at")
    ]
    order = [("item_id", "ascending")]
    order += [(name, "descending") for name in ("rank", "attempts", "recorded_at", *rest)]
    return table.append_column("rank", rank).sort_by(order).drop_columns("rank").combine_chunks()


def _first_of_runs(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    first = np.ones(len(column), dtype=np.bool_)
    if len(column) > 1:
        if column.null_count:
            column = pc.fill_null(column, "")
        first[1:] = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy()
    return first


def resolve(tables: Iterable[pa.Table]) -> dict[str, Outcome]:
    """Exactly one terminal record per item, by the rule of `resolve_table`; sorted by item id."""
    return {row["item_id"]: from_row(row) for row in resolve_table(tables).to_pylist()}
