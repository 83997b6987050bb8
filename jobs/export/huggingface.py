"""Export to a Hugging Face image folder: images, metadata.parquet with a row for each, and a card that names both.

`datasets.load_dataset(<folder>)` reads it. The card's `data_files` says that all is one split: without it, a folder or
file with "test" in its name would become a split of its own, and the rest would not be loaded. The metadata are
Parquet: of JSON lines `datasets` takes the types from the first ones, and fails where a column is empty there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core.locations import is_uri
from dreamcache.storage.open_store import join, open_store
from dreamcache.storage.temporary import temporary_folder
from jobs.export.fetch import Lost
from jobs.export.folder import Copied, copy_images
from jobs.export.names import Names
from jobs.export.rows import ROWS_AT_ONCE, Rows

LAYOUT = "{item_id}.{ext}"
FOLDER = "images"
METADATA = "metadata.parquet"
OF_EARLIER_RELEASES = "metadata.jsonl"
PICTURE = "image"
"""The column in which `datasets` gives the picture; a manifest's column of that name would take its place."""
NAMES_FILES = ("file_name", "file_names")
"""`datasets` opens as a picture what a column with such an ending names."""
CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.parquet
    - "images/**"
---
# Images of job output {output}

Generated with dreamcache. `metadata.parquet` has a row for each image: its `file_name` and the columns of the job's
manifest. `image` is the picture, `reference` the location of the reference photo.
"""


def write_image_folder(names: Names, rows: Rows, output: str, target: str) -> Iterator[Copied | Lost]:
    """Images below images/, then metadata.parquet and README.md, which are written anew each time."""
    store = open_store(target)
    with temporary_folder("export") as folder:
        path = folder / METADATA
        with _Metadata(path, rows.schema) as metadata:
            for done in copy_images(names, output, join(target, FOLDER)):
                if isinstance(done, Copied):
                    metadata.add(f"{FOLDER}/{done.name}", dict(done.row))
                yield done
        store.upload(METADATA, path)
    store.delete(OF_EARLIER_RELEASES)
    # A path of this machine means nothing to a reader elsewhere.
    shown = output if is_uri(output) else Path(output).name
    store.write("README.md", CARD.format(output=shown).encode())


def metadata_columns(schema: pa.Schema) -> dict[str, str]:
    """{column of the manifest: its name in the metadata}, without what would hide the picture or be opened as one."""
    names: dict[str, str] = {}
    for name in schema.names:
        column = "reference" if name == PICTURE else name
        if column in schema.names and name == PICTURE:
            continue  # `reference` has the same values
        while column.endswith(NAMES_FILES) or column in names.values():
            column = f"{column}_in_catalog"
        names[name] = column
    return names


class _Metadata:
    """metadata.parquet, written some rows at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._columns = metadata_columns(schema)
        fields = [schema.field(name).with_name(column) for name, column in self._columns.items()]
        self._schema = pa.schema([pa.field("file_name", pa.string()), *fields])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[dict[str, object]] = []

    def __enter__(self) -> _Metadata:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._writer.close()

    def add(self, file_name: str, row: dict[str, object]) -> None:
        self._waiting.append(
            {"file_name": file_name, **{column: row[name] for name, column in self._columns.items()}}
        )
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []
