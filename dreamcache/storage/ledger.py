"""The ledger of a job: terminal records of items, appended as sealed Parquet parts, never changed.

    workers --append--> ledger/part-<hash>.parquet --scan--> tables --resolve--> item_id -> one Outcome
                             |                          |
                             +- compaction: fewer parts +- pruned: records of images that were deleted

Several drivers and attempts may record the same item; `resolve` decides alike for every reader. A part may go
while it is being read, but not its records: see `compaction` for the protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.core.records import Blocked, Done, Failed, Outcome, Quality
from dreamcache.storage.open_store import store_for
from dreamcache.storage.pruned import Pruned
from dreamcache.storage.sealed_parquet import seal, unseal
from dreamcache.storage.store import ObjectInfo, join

SCHEMA_VERSION = "dreamcache.ledger/2"
READERS = 16
MAX_LISTINGS = 20
LEDGER_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("key", pa.string()),
        pa.field("code", pa.string()),
        pa.field("message", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("num_bytes", pa.int64()),
        pa.field("pixel_sha256", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("device", pa.string()),
        pa.field("tries", pa.int32()),
        pa.field("seed", pa.int64()),
        pa.field("image_score", pa.float64()),
        pa.field("text_score", pa.float64()),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
STATUS_ORDER = ("failed", "blocked", "done")
_OF_DONE = ("key", "width", "height", "num_bytes", "pixel_sha256", "seconds", "device")
_OF_QUALITY = ("tries", "seed", "image_score", "text_score")


def to_row(outcome: Outcome, recorded_at: datetime | None = None) -> dict[str, Any]:
    """An outcome's row of LEDGER_SCHEMA, null where its kind has no such column; time: now, if not given."""
    row: dict[str, Any] = {name: getattr(outcome, name, None) for name in LEDGER_SCHEMA.names}
    row["recorded_at"] = recorded_at or datetime.now(UTC)
    row |= {name: getattr(getattr(outcome, "quality", None), name, None) for name in _OF_QUALITY}
    return row


def from_row(row: Mapping[str, Any]) -> Outcome:
    """The outcome of a row. ValueError for an unknown status."""
    common: dict[str, Any] = {"item_id": row["item_id"], "attempts": row["attempts"]}
    why = {"code": row["code"], "message": row["message"]}
    quality = Quality(**{name: row[name] for name in _OF_QUALITY}) if row["tries"] is not None else None
    match row["status"]:
        case "done":
            return Done(**common, **{name: row[name] for name in _OF_DONE}, quality=quality)
        case "blocked":
            return Blocked(**common, **why, quality=quality)
        case "failed":
            return Failed(**common, **why)
    raise ValueError(f"status must be one of {', '.join(STATUS_ORDER)}, got {row['status']!r}")


class Ledger:
    """The ledger below one job's output. Picklable. StorageError when the place cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.uri = join(output_uri, "ledger")
        self.pruned = Pruned(output_uri)
        self._store = store_for(output_uri)

    def append(self, outcomes: Sequence[Outcome], recorded_at: datetime | None = None) -> str | None:
        """Write one part and return its URI; None for no outcomes. Repeating an append changes nothing.

        The name is made of the items, their attempts and how they ended, so the same work recorded by another
        driver is the same part: the first one stays.
        """
        if not outcomes:
            return None
        now = recorded_at or datetime.now(UTC)
        ordered = sorted(outcomes, key=lambda o: (o.item_id, o.attempts, o.status, getattr(o, "code", "")))
        named = [[o.item_id, o.attempts, o.status, getattr(o, "code", "")] for o in ordered]
        name = f"part-{ids.of_values('ledger-part', outcomes=named)}.parquet"
        table = pa.Table.from_pylist([to_row(outcome, now) for outcome in ordered], schema=LEDGER_SCHEMA)
        uri = join(self.uri, name)
        self._store.create(uri, to_bytes(table))
        return uri

    def parts(self) -> list[ObjectInfo]:
        """The parts there are now, in order of their names."""
        found = [info for info in self._store.list(self.uri) if _is_part(info.uri)]
        return sorted(found, key=lambda info: info.uri)

    def scan(self, seen: set[str] | None = None) -> Iterator[pa.Table]:
        """The rows of every part, without those of pruned images; a bounded number of parts is read ahead.

        seen: names of parts to pass over; those read now are added. A record may come twice while parts are
        being compacted, and never not at all. StorageError (`bad_ledger`) naming the part when one is damaged.
        """
        seen = set() if seen is None else seen
        void = self.pruned.limits()
        for _ in range(MAX_LISTINGS):
            gone = False
            for uri, table in self._read_ahead([info.uri for info in self.parts() if info.uri not in seen]):
                if table is None:
                    gone = (
                        True  # compacted since the listing: a later one shows the part that has its records
                    )
                else:
                    seen.add(uri)
                    yield without_pruned(table, void)
            if not gone:
                return
        raise StorageError(
            f"{self.uri}: parts must be readable where they are listed, got none {MAX_LISTINGS} times; "
            "check the storage",
            code="bad_ledger",
        )

    def _read_ahead(self, uris: list[str]) -> Iterator[tuple[str, pa.Table | None]]:
        waiting: deque[tuple[str, Future[pa.Table | None]]] = deque()
        with ThreadPoolExecutor(READERS, thread_name_prefix="ledger") as pool:
            try:
                for uri in uris:
                    waiting.append((uri, pool.submit(self.read_part, uri)))
                    if len(waiting) >= 2 * READERS:
                        first, future = waiting.popleft()
                        yield first, future.result()
                while waiting:
                    first, future = waiting.popleft()
                    yield first, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def outcomes(self) -> dict[str, Outcome]:
        """The one terminal record of every item recorded so far. In memory: for jobs of modest size."""
        return resolve(self.scan())

    def read_part(self, uri: str) -> pa.Table | None:
        """The part's rows; None when it is there no more. StorageError (`bad_ledger`) when it is damaged."""
        try:
            table, metadata = unseal(self._store.read(uri))
            if metadata.get("dreamcache.schema") != SCHEMA_VERSION or not table.schema.equals(LEDGER_SCHEMA):
                raise ValueError(f"schema must be {SCHEMA_VERSION}, got {metadata.get('dreamcache.schema')}")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StorageError(
                f"{uri}: a sound ledger part is needed, got one that {error}; delete it to generate its "
                "items again, or restore it from a copy",
                code="bad_ledger",
            ) from error
        return table


def to_bytes(table: pa.Table) -> bytes:
    """A part's file."""
    return seal(table, {"dreamcache.schema": SCHEMA_VERSION})


def without_pruned(table: pa.Table, void: Mapping[str, int]) -> pa.Table:
    """The rows that count: a pruned item's attempts up to the limit given for it in `void` do not."""
    if not void:
        return table
    limits = [void.get(item_id, -1) for item_id in table["item_id"].to_pylist()]
    return table.filter(pc.greater(table["attempts"], pa.array(limits, pa.int32())))


def _is_part(uri: str) -> bool:
    name = uri.rsplit("/", 1)[-1]
    return name.startswith("part-") and name.endswith(".parquet")


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
