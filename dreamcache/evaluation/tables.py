"""Intervals in tables: as cells of Markdown, and as columns of Arrow tables. Knows numbers and Markdown only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dreamcache.evaluation.bootstrap import Interval


def interval_columns(values: Mapping[str, Interval], columns: Sequence[str]) -> dict[str, float | int | None]:
    """{column, column_low, column_high, column_n} of each column."""
    row: dict[str, float | int | None] = {}
    for column in columns:
        value = values.get(column)
        row[column] = value.mean if value else None
        row[f"{column}_low"] = value.low if value else None
        row[f"{column}_high"] = value.high if value else None
        row[f"{column}_n"] = value.n if value else 0
    return row


def interval_text(value: Interval | None) -> str:
    """A cell: mean, interval and number of subjects."""
    if value is None:
        return "-"
    return str(value) if value.bounds is None else f"{value} ({value.n})"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are one line each."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
