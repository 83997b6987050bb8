"""The rows of a manifest, filtered and streamed. Knows Parquet and columns; knows nothing of the exported files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.storage.arrow import pyarrow_filesystem
from dreamcache.storage.store import join
from jobs.output.reader import manifest_dataset, reading_manifest

ROWS_AT_ONCE = 4096


def row_json(row: Mapping[str, Any]) -> str:
    """A row as one line of JSON; times in ISO 8601."""
    return json.dumps(row, ensure_ascii=False, default=datetime.isoformat)


class Rows:
    """Rows of the manifest below `output` whose columns have the values of `where`; read again at every iteration.

    Raises StorageError `no_manifest`, or SpecError for a column that the manifest does not have.
    """

    def __init__(self, output: str, where: Mapping[str, str]) -> None:
        self.output = output.rstrip("/")
        manifest_dataset(self.output)  # its errors say what to do
        self._filesystem, self._path = pyarrow_filesystem(join(self.output, "manifest.parquet"))
        with reading_manifest(self.output), self._open() as file:
            self.columns = tuple(file.schema_arrow.names)
        for column in where:
            if column not in self.columns:
                raise SpecError(
                    f"--where {column}: the manifest has no such column{did_you_mean(column, self.columns)}; "
                    f"it has {', '.join(self.columns)}"
                )
        self.where = dict(where)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with reading_manifest(self.output), self._open() as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                yield from self._chosen(pa.Table.from_batches([batch])).to_pylist()

    def _chosen(self, table: pa.Table) -> pa.Table:
        for column, value in self.where.items():
            # As text, the way it stands on a command line: sample=1 as well as color=red.
            table = table.filter(pc.equal(pc.cast(table[column], pa.string()), value))
        return table

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._path, filesystem=self._filesystem)
