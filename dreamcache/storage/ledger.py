"""The ledger of a job: terminal records of items, appended as sealed Parquet parts, never changed.

    workers --append--> ledger/part-<hash>.parquet --scan--> tables --resolve--> item_id -> one Outcome

Several drivers and attempts may record the same item; `resolve` decides alike for every reader.
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

from dreamcache import keys
from dreamcache.errors import StorageError
from dreamcache.records import Blocked, Done, Failed, Outcome
from dreamcache.storage.filesystem import store_for
from dreamcache.storage.sealed import seal, unseal
from dreamcache.storage.store import ObjectInfo, join

SCHEMA_VERSION = "dreamcache.ledger/1"
READERS = 16
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
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
STATUS_ORDER = ("failed", "blocked", "done")
_OF_DONE = ("key", "width", "height", "num_bytes", "pixel_sha256", "seconds", "device")


def to_row(outcome: Outcome, recorded_at: datetime | None = None) -> dict[str, Any]:
    """An outcome's row of LEDGER_SCHEMA, null where its kind has no such column; time: now, if not given."""
    row: dict[str, Any] = {name: getattr(outcome, name, None) for name in LEDGER_SCHEMA.names}
    row["recorded_at"] = recorded_at or datetime.now(UTC)
    return row


def from_row(row: Mapping[str, Any]) -> Outcome:
    """The outcome of a row. ValueError for an unknown status."""
    if row["status"] == "done":
        return Done(
            item_id=row["item_id"], attempts=row["attempts"], **{name: row[name] for name in _OF_DONE}
        )
    kinds: dict[str, type[Blocked | Failed]] = {"blocked": Blocked, "failed": Failed}
    kind = kinds.get(row["status"])
    if kind is None:
        raise ValueError(f"status must be one of {', '.join(STATUS_ORDER)}, got {row['status']!r}")
    return kind(item_id=row["item_id"], code=row["code"], message=row["message"], attempts=row["attempts"])


class Ledger:
    """The ledger below one job's output. Picklable. StorageError when the place cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.uri = join(output_uri, "ledger")
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
        name = f"part-{keys.of_values('ledger-part', outcomes=named)}.parquet"
        table = pa.Table.from_pylist([to_row(outcome, now) for outcome in ordered], schema=LEDGER_SCHEMA)
        uri = join(self.uri, name)
        self._store.create(uri, seal(table, {"dreamcache.schema": SCHEMA_VERSION}))
        return uri

    def parts(self) -> list[ObjectInfo]:
        """The parts there are now, in order of their names."""
        found = [info for info in self._store.list(self.uri) if _is_part(info.uri)]
        return sorted(found, key=lambda info: info.uri)

    def scan(self) -> Iterator[pa.Table]:
        """Every part's rows, in order of the parts' names; a bounded number of parts is read ahead.

        StorageError (`bad_ledger`) naming the part when one is damaged: nothing is passed over.
        """
        waiting: deque[Future[pa.Table]] = deque()
        with ThreadPoolExecutor(READERS, thread_name_prefix="ledger") as pool:
            try:
                for info in self.parts():
                    waiting.append(pool.submit(self._read_part, info.uri))
                    if len(waiting) >= 2 * READERS:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def outcomes(self) -> dict[str, Outcome]:
        """The one terminal record of every item recorded so far."""
        return resolve(self.scan())

    def _read_part(self, uri: str) -> pa.Table:
        try:
            table, metadata = unseal(self._store.read(uri))
            if metadata.get("dreamcache.schema") != SCHEMA_VERSION or not table.schema.equals(LEDGER_SCHEMA):
                raise ValueError(f"schema must be {SCHEMA_VERSION}, got {metadata.get('dreamcache.schema')}")
        except (ValueError, FileNotFoundError) as error:
            raise StorageError(
                f"{uri}: a sound ledger part is needed, got one that {error}; delete it to generate its "
                "items again, or restore it from a copy",
                code="bad_ledger",
            ) from error
        return table


def _is_part(uri: str) -> bool:
    name = uri.rsplit("/", 1)[-1]
    return name.startswith("part-") and name.endswith(".parquet")


def resolve_table(tables: Iterable[pa.Table]) -> pa.Table:
    """One row per item, sorted by item: done before blocked before failed, then most attempts, then latest.

    What is still equal is decided by the further columns, so the order of tables and rows never matters.
    """
    table = pa.concat_tables([LEDGER_SCHEMA.empty_table(), *tables])
    rank = pc.index_in(table["status"], pa.array(STATUS_ORDER))
    if rank.null_count:
        raise ValueError(f"status must be one of {', '.join(STATUS_ORDER)}, got {pc.unique(table['status'])}")
    rest = [
        name for name in LEDGER_SCHEMA.names if name not in ("item_id", "status", "attempts", "recorded_at")
    ]
    order = [("item_id", "ascending")]
    order += [(name, "descending") for name in ("rank", "attempts", "recorded_at", *rest)]
    table = table.append_column("rank", rank).sort_by(order).drop_columns("rank").combine_chunks()
    return table.filter(pa.array(_first_of_runs(table["item_id"])))


def _first_of_runs(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    first = np.ones(len(column), dtype=np.bool_)
    if len(column) > 1:
        first[1:] = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy()
    return first


def resolve(tables: Iterable[pa.Table]) -> dict[str, Outcome]:
    """Exactly one terminal record per item, by the rule of `resolve_table`; sorted by item id."""
    return {row["item_id"]: from_row(row) for row in resolve_table(tables).to_pylist()}
