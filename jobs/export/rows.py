"""The rows of a manifest, filtered and streamed. Knows Parquet and columns; knows nothing of the exported files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.errors import SpecError, did_you_mean
from jobs.output.reader import Manifest

ROWS_AT_ONCE = 4096


def row_json(row: Mapping[str, Any]) -> str:
    """A row as one line of JSON; times in ISO 8601."""
    return json.dumps(row, ensure_ascii=False, default=datetime.isoformat)


class Rows:
    """Rows of the manifest below `output` whose columns have the values of `where`; read again at every iteration.

    Raises StorageError `no_manifest`, or SpecError for a column that the manifest does not have or that holds lists.
    """

    def __init__(self, output: str, where: Mapping[str, str], manifest: Manifest | None = None) -> None:
        """manifest: that of `output`, where it is open already."""
        self.manifest = manifest or Manifest(output)
        self.schema = self.manifest.schema
        self.columns = tuple(self.schema.names)
        for column in where:
            _check_filter(column, self.schema)
        self.where = dict(where)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.manifest.batches(ROWS_AT_ONCE):
            chosen = self._chosen(pa.Table.from_batches([batch]))
            with self.manifest.reading():
                rows = chosen.to_pylist()
            yield from rows

    def with_status(self, status: str) -> Rows:
        """Those of the rows that have this status."""
        return Rows(self.manifest.uri, {**self.where, "status": status}, self.manifest)

    def statuses(self) -> Counter[str]:
        """How many rows have each status."""
        counts: Counter[str] = Counter()
        for batch in self.manifest.batches(ROWS_AT_ONCE, ["status", *self.where]):
            counts.update(self._chosen(pa.Table.from_batches([batch]))["status"].to_pylist())
        return counts

    def _chosen(self, table: pa.Table) -> pa.Table:
        for column, value in self.where.items():
            # As text, the way it stands on a command line: sample=1 as well as color=red.
            table = table.filter(pc.equal(pc.cast(table[column], pa.string()), value))
        return table


def _check_filter(column: str, schema: pa.Schema) -> None:
    if column not in schema.names:
        raise SpecError(
            f"--where {column}: the manifest has no such column{did_you_mean(column, schema.names)}; "
            f"it has {', '.join(schema.names)}"
        )
    if pa.types.is_nested(schema.field(column).type):
        raise SpecError(
            f"--where {column}: must be a column of texts or numbers, this one holds lists; name the catalog's own "
            "column, which holds them as text"
        )
