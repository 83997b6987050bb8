"""Bytes, durations, counts and tables as people read them: the one place that decides how they look.

Knows numbers and text; knows nothing of terminals or of what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MAX_CELL = 60
NOTHING = "-"


def format_bytes(count: float | None) -> str:
    """E.g. 812 B, 6.1 MB; powers of 1000."""
    if count is None:
        return "of unknown size"
    for unit in ("B", "kB", "MB", "GB"):
        if round(count, 1) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_duration(seconds: float | None) -> str:
    """E.g. 0:07, 2:05, 1:02:05, 3 d 1:02:05; "-" where it is unknown."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}:{rest:02d}"
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02d}:{rest:02d}"


def format_rate(rate: float, unit: str) -> str:
    """E.g. 38.2 images/s, 0.04 images/s: three digits that mean something."""
    return f"{rate:.1f} {unit}" if rate >= 10 or not rate else f"{rate:.3g} {unit}"


def format_count(count: int, singular: str, plural: str | None = None) -> str:
    """E.g. 1 item, 1,200 items."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, cut: bool) -> list[str]:
    """Aligned columns below their names. cut: long cells end with "...", for a terminal; a pipe gets them whole."""
    texts = [list(columns), *([_cell(value, cut) for value in row] for row in rows)]
    widths = [max(len(row[number]) for row in texts) for number in range(len(columns))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]


def _cell(value: Any, cut: bool) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text[: MAX_CELL - 3] + "..." if cut and len(text) > MAX_CELL else text
