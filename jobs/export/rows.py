"""The rows of a manifest, filtered and streamed. Knows Parquet and columns; knows nothing of the exported files."""

from __future__ import annotations

import json
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

    Raises StorageError `no_manifest`, or SpecError for a column that the manifest does not have.
    """

    def __init__(self, output: str, where: Mapping[str, str]) -> None:
        self.manifest = Manifest(output)
        self.columns = self.manifest.columns
        for column in where:
            if column not in self.columns:
                raise SpecError(
                    f"--where {column}: the manifest has no such column{did_you_mean(column, self.columns)}; "
                    f"it has {', '.join(self.columns)}"
                )
        self.where = dict(where)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.manifest.batches(ROWS_AT_ONCE):
            yield from self._chosen(pa.Table.from_batches([batch])).to_pylist()

    def _chosen(self, table: pa.Table) -> pa.Table:
        for column, value in self.where.items():
            # As text, the way it stands on a command line: sample=1 as well as color=red.
            table = table.filter(pc.equal(pc.cast(table[column], pa.string()), value))
        return table
