"""A cell of a CSV file that people open in a spreadsheet."""

from __future__ import annotations

from typing import Any


def csv_cell(value: Any) -> str:
    """A spreadsheet must show a cell that begins like a formula, not run it."""
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text
