"""Rows as a Markdown table. Imports nothing heavy: what starts processes writes reports with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(_text(value) for value in row.values()) + " |" for row in rows]
    return "\n".join([*lines, ""])


def _text(value: Any) -> str:
    if isinstance(value, list):
        mean, low, high = value
        return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    return str(value)
