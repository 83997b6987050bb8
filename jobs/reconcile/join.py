"""The plan joined with the ledger, one window of the plan after the other, in memory that grows with neither.

    ledger's tables --(PlanIndex)--> spill file of each window --resolve_table--> one record per planned row
                                                                             +--> orphans: records of no planned row

A window is a part of the plan. Records are first written to the spill files of their windows, orphans by their id:
all records of an item meet. Then each window is resolved by the ledger's own rule. Only the index
(20 bytes an item) is of the size of the plan. Tried first: DuckDB 2.0, whose join and sort of ten million rows
ended at a memory limit of 400 MB with an error instead of spilling, and which would state the rule a second time.

Knows both tables' item_id; knows nothing of storage, workers or the manifest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.storage.ledger import LEDGER_SCHEMA, resolve_table
from jobs.planning.plan_files import PlanFiles
from jobs.reconcile.item_index import NOT_PLANNED, PlanIndex, halves

MAX_SPILLS = 200
"""Spill files open at once; a process may have 1024."""
ROWS_PER_SPILL_WRITE = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A part of the plan and what is recorded of it.

    planned: rows in plan order. records: LEDGER_SCHEMA, a row for each planned one, null where there is none.
    orphans: resolved records of items that no part of the plan has.
    """

    planned: pa.Table
    records: pa.Table
    orphans: pa.Table


class Join:
    """`with Join(files, ledger.scan()) as join: for window in join.windows(): ...`"""

    def __init__(self, files: PlanFiles, tables: Iterable[pa.Table]) -> None:
        """Reads all of `tables`, the ledger's, into spill files."""
        self._files = files
        self._num_parts = len(files.paths)
        self._num_spills = min(self._num_parts, MAX_SPILLS)
        self._folder = tempfile.TemporaryDirectory(prefix="dreamcache-join-")
        self.index = PlanIndex(files)
        try:
            self._spill(tables)
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def windows(self, columns: Sequence[str] | None = None) -> Iterator[Window]:
        """Every row of the plan, in its order, and every orphan once. columns: of the plan; item_id is one."""
        parts = self._files.tables(columns)
        for spill in range(self._num_spills):
            resolved = resolve_table([self._spilled(spill)])
            orphan = np.ones(resolved.num_rows, dtype=np.bool_)
            mine = [part for part in range(self._num_parts) if self._spill_of(part) == spill]
            for part in mine:
                planned = next(parts)
                position = pc.index_in(planned["item_id"], value_set=resolved["item_id"].combine_chunks())
                orphan[pc.drop_null(position).to_numpy()] = False
                gone = resolved.filter(pa.array(orphan)) if part == mine[-1] else resolved.slice(0, 0)
                yield Window(planned=planned, records=resolved.take(position), orphans=gone)

    def _spill_of(self, part: int | np.ndarray) -> int | np.ndarray:
        return part * self._num_spills // self._num_parts

    def _path(self, spill: int) -> Path:
        return Path(self._folder.name, f"{spill}.arrow")

    def _spill(self, tables: Iterable[pa.Table]) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with ExitStack() as open_files:
            writers = [
                open_files.enter_context(
                    pa.ipc.new_stream(str(self._path(n)), LEDGER_SCHEMA, options=options)
                )
                for n in range(self._num_spills)
            ]
            for table in in_larger_tables(tables, ROWS_PER_SPILL_WRITE):
                high, low = halves(table["item_id"])
                part = self.index.parts_of(high, low)
                spill = np.where(
                    part == NOT_PLANNED,
                    (high % np.uint64(self._num_spills)).astype(np.int32),
                    self._spill_of(part),
                )
                order = np.argsort(spill, kind="stable")
                ends = np.searchsorted(spill[order], np.arange(self._num_spills), side="right")
                table = table.take(pa.array(order))
                start = 0
                for writer, end in zip(writers, ends, strict=True):
                    if end > start:
                        writer.write_table(table.slice(start, end - start))
                    start = end

    def _spilled(self, spill: int) -> pa.Table:
        with pa.ipc.open_stream(str(self._path(spill))) as stream:
            return stream.read_all()


def in_larger_tables(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """The same rows in fewer tables, each of at least so many rows but the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= num_rows:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
