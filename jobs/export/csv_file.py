"""Export to CSV: the manifest's rows, every column, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dreamcache.storage.open_store import join, store_for
from jobs.export.rows import Rows
from jobs.output.csv_cell import csv_cell


def write_csv(rows: Rows, target: str) -> Iterator[None]:
    """Writes `target`, or manifest.csv below it when it is no .csv; yields once a row."""
    uri = target if target.lower().endswith(".csv") else join(target, "manifest.csv")
    with tempfile.TemporaryDirectory(prefix="dreamcache-export-") as folder:
        path = Path(folder) / "manifest.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows.columns)
            for row in rows:
                writer.writerow([csv_cell(row[name]) for name in rows.columns])
                yield
        store_for(uri).upload(uri, path)
