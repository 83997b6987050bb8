"""Export to CSV: the manifest's rows, every column, safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator

from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.temporary import temporary_folder
from jobs.export.rows import Rows
from jobs.output.csv_file import CsvFile


def write_csv(rows: Rows, target: str) -> Iterator[None]:
    """Writes `target`, or manifest.csv below it when it is no .csv; yields once a row."""
    uri = target if target.lower().endswith(".csv") else join(target, "manifest.csv")
    with temporary_folder("export") as folder:
        path = folder / "manifest.csv"
        with CsvFile(path, rows.columns) as file:
            for row in rows:
                file.add(row)
                yield
        store_for(uri).upload(uri, path)
