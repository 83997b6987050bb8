"""The manifest's columns of review: what people decided about each image, as the review log has it now.

    Standing by item --ReviewColumns--> review, reviewer, review_reason, review_note, reviewed_at of a table's rows

Knows the review log's standings and Arrow; knows nothing of who reads the manifest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.storage.reviews import Reviews, Standing

REVIEW_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("review", pa.string()),
    ("reviewer", pa.string()),
    ("review_reason", pa.string()),
    ("review_note", pa.string()),
    ("reviewed_at", pa.timestamp("us", tz="UTC")),
]
"""review: approved, rejected, conflict or pending; null for an item without an image. reviewer:
`names_cell`."""
NAMES = tuple(name for name, _ in REVIEW_COLUMNS)
NEEDED = ("item_id", "status")
"""Columns that a table must have."""


def names_cell(names: Iterable[str]) -> str:
    """Names with ", " between; one that holds a comma, a quote or a line's end is quoted, as in CSV."""
    return ", ".join('"' + name.replace('"', '""') + '"' if {*name} & {*',"\r\n'} else name for name in names)


def names_of(cell: str) -> list[str]:
    """The names in a `names_cell`; what is none is one name."""
    try:
        return [
            name for row in csv.reader(io.StringIO(cell, newline=""), skipinitialspace=True) for name in row
        ]
    except csv.Error:
        return [cell]


class ReviewColumns:
    """The five columns, looked up for any table that has NEEDED."""

    def __init__(self, standings: Mapping[str, Standing]) -> None:
        self.is_empty = not standings
        self._ids = pa.array(list(standings), pa.string())
        some = list(standings.values())
        self._values = {
            "review": [one.state for one in some],
            "reviewer": [names_cell(one.reviewers) for one in some],
            "review_reason": [one.reason for one in some],
            "review_note": [one.note for one in some],
            "reviewed_at": [one.reviewed_at for one in some],
        }
        self._arrays = {name: pa.array(self._values[name], kind) for name, kind in REVIEW_COLUMNS}

    @staticmethod
    def of_output(output: str) -> ReviewColumns:
        """Of the review log below an output as it is now. StorageError `bad_review_log` when it is damaged."""
        return ReviewColumns(Reviews(output).standings())

    def columns(self, item_ids: pa.ChunkedArray, status: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
        """By name, a value for each item."""
        position = pc.index_in(item_ids, value_set=self._ids)
        is_done = pc.equal(status, "done")
        columns = {name: pc.take(array, position) for name, array in self._arrays.items()}
        columns["review"] = pc.fill_null(columns["review"], "pending")
        return {
            name: pc.if_else(is_done, column, pa.scalar(None, column.type))
            for name, column in columns.items()
        }

    def over(self, table: pa.Table) -> pa.Table:
        """The table with these columns, in the place of its own where it has them."""
        for name, column in self.columns(table["item_id"], table["status"]).items():
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, column)
            else:
                table = table.append_column(name, column)
        return table


NO_REVIEWS = ReviewColumns({})
