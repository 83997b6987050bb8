"""Export to CSV: the manifest's rows, every column, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dreamcache.storage.filesystem import join
from jobs.export.fetch import send_file
from jobs.export.rows import Rows


def write_csv(rows: Rows, target: str) -> Iterator[None]:
    """Writes `target`, or manifest.csv below it when it is no .csv; yields once a row."""
    uri = target if target.lower().endswith(".csv") else join(target, "manifest.csv")
    with tempfile.TemporaryDirectory(prefix="dreamcache-export-") as folder:
        path = Path(folder) / "manifest.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows.columns)
            for row in rows:
                writer.writerow([_cell(row[name]) for name in rows.columns])
                yield
        send_file(path, uri)


def _cell(value: Any) -> str:
    """As in failed.csv: a spreadsheet must show a cell that begins like a formula, not run it."""
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text
