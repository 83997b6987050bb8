"""Parquet as Spark, Ray, pandas and Hugging Face write it, a few rows at a time.

Knows Arrow's types; knows nothing of what columns mean.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dreamcache.core.errors import CatalogError
from dreamcache.core.texts import shown
from dreamcache.storage.arrow import DAMAGE
from dreamcache.storage.parquet_pages import PageError, largest_page
from jobs.planning.catalog.parts import Part
from jobs.planning.catalog.rows import Row, checked_names

BATCH_BYTES = 256 << 20
"""At most so much is unpacked at once, if each cell of a batch were as long as the longest page."""
MAX_BATCH_ROWS = 4096
IMAGE_FIELDS = {"bytes", "path"}


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedImage:
    """A cell {bytes, path} of Hugging Face; its bytes are not read."""

    path: str | None


def parquet_rows(part: Part, data: bytes, needed: tuple[str, str]) -> Iterator[tuple[int, Row]]:
    """(row number, row) of every row with a value. Raises CatalogError for a damaged file, or one that needs too much
    memory."""
    try:
        yield from _rows(part, data)
    except PageError as error:
        raise CatalogError(f"catalog '{part.uri}': {error}") from error
    except DAMAGE as error:
        raise CatalogError(
            f"catalog '{part.uri}': must be a Parquet file that is intact, got {type(error).__name__}: {error}; "
            "write it again"
        ) from error


def _rows(part: Part, data: bytes) -> Iterator[tuple[int, Row]]:
    file = pq.ParquetFile(io.BytesIO(data))
    schema = file.schema_arrow
    names = checked_names(schema.names, part.uri)
    images = {name for name, field in zip(names, schema, strict=True) if _is_image(field.type)}
    wanted = [f"{name}.path" if name.strip() in images else name for name in schema.names]
    rows = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // largest_page(data)))
    number = 0
    for batch in file.iter_batches(rows, columns=wanted if images else None):
        columns = {
            name.strip(): _values(column)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        for index in range(batch.num_rows):
            number += 1
            row = {name: values[index] for name, values in columns.items() if name}
            if all(value is None or value == "" or value != value for value in row.values()):
                continue
            yield number, _checked(row, images)


def _checked(row: dict[str, Any], images: set[str]) -> Row:
    for name, value in row.items():
        if isinstance(value, _Unreadable):
            return f"the cell in column {shown(name)} cannot be read: {value.problem}"
        if name in images and value is not None:
            row[name] = EmbeddedImage(path=value.get("path"))
    return row


def _is_image(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {field.name for field in kind} == IMAGE_FIELDS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unreadable:
    """A cell whose bytes are no value of its column's type."""

    problem: str


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except DAMAGE:
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    """The cell in Python; as text where Python has no such value, such as a date after the year 9999."""
    try:
        return cell.as_py()
    except DAMAGE as error:
        try:
            if pa.types.is_timestamp(cell.type) and cell.type.tz:
                cell = pc.cast(cell, pa.timestamp(cell.type.unit, "UTC"))  # of a zone that is unknown here
            return pc.cast(cell, pa.string()).as_py()
        except DAMAGE:
            return _Unreadable(problem=f"{type(error).__name__}: {error}")
