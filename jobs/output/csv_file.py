"""CSV files that people open in a spreadsheet: failed.csv and exports. Knows cells and rows; not what they mean."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_cell(value: object) -> str:
    """A cell; a text that begins like a formula is quoted, so that a spreadsheet shows it and does not run it.

    A list is JSON.
    """
    if isinstance(value, (int, float)):
        return str(value)  # a negative number is no formula
    if isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False)
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in FORMULA_STARTS else text


class CsvFile:
    """`with CsvFile(path, columns) as file: file.add(row)`: a header, then a line a row, UTF-8."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8", newline="")
        # The writer ends lines with CR LF: a CR within a cell is then quoted and starts no row.
        self._lines = csv.writer(self._file)
        self._lines.writerow(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """One line. row: at least the columns of the file."""
        self._lines.writerow([csv_cell(row[name]) for name in self._columns])

    def close(self) -> None:
        self._file.close()
