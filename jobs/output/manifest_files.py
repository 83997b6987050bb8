"""The manifest as files of this machine, a window of the plan after the other.

    window --> a row group of manifest.parquet, and of manifest/part-* where the manifest is large

Knows the manifest's columns and Parquet; knows no output folder.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.output.attributes import Attributes
from jobs.output.manifest import HARDLY_REPEATING, Counts, build_manifest, count_window, manifest_schema
from jobs.output.review_columns import NO_REVIEWS, ReviewColumns
from jobs.reconcile.join import Window

ROWS_WITHOUT_PARTS = 1_000_000
"""A manifest of more rows is written a second time, as parts that readers open in parallel."""
PART_ROWS = 500_000
"""A part ends with the window that reaches so many rows."""


class ManifestFiles:
    """manifest.parquet in `place`, and parts of it when `rows`, which the plan has, are more than
    ROWS_WITHOUT_PARTS."""

    def __init__(
        self,
        attributes: Attributes,
        output: str,
        place: Path,
        *,
        rows: int = 0,
        reviews: ReviewColumns = NO_REVIEWS,
    ) -> None:
        self.manifest = place / "manifest.parquet"
        self.parts: list[Path] = []
        self.counts = Counts()
        self._attributes, self._output, self._place, self._reviews = attributes, output, place, reviews
        self._schema = manifest_schema(attributes)
        self._is_large = rows > ROWS_WITHOUT_PARTS
        self._part: pq.ParquetWriter | None = None
        self._rows_of_part = 0

    def __enter__(self) -> ManifestFiles:
        self._whole = self._writer(self.manifest)
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.close()
        if self._part is not None:
            self._part.close()

    def add(self, window: Window) -> pa.Table:
        """Writes the window's rows, in plan order, as one row group; returns them."""
        table = build_manifest(window, self._attributes, self._output, self._reviews)
        self._whole.write_table(table)
        if self._is_large:
            self._add_to_part(table)
        self.counts += count_window(window)
        return table

    def _add_to_part(self, table: pa.Table) -> None:
        if self._part is None:
            self.parts.append(self._place / f"part-{len(self.parts):05d}.parquet")
            self._part, self._rows_of_part = self._writer(self.parts[-1]), 0
        self._part.write_table(table)
        self._rows_of_part += table.num_rows
        if self._rows_of_part >= PART_ROWS:
            self._part.close()
            self._part = None

    def _writer(self, path: Path) -> pq.ParquetWriter:
        repeating = [name for name in self._schema.names if name not in HARDLY_REPEATING]
        return pq.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=_leaves(repeating, self._schema)
        )


def _leaves(names: list[str], schema: pa.Schema) -> list[str]:
    """Columns as Parquet names them: a list's values are a column of their own."""
    lists = {field.name for field in schema if pa.types.is_list(field.type)}
    return [f"{name}.list.element" if name in lists else name for name in names]
