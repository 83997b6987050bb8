"""Export to a Hugging Face image folder: images, metadata.jsonl with a line for each, and a card that names both.

`datasets.load_dataset(<folder>)` reads it. The card's `data_files` says that all is one split: without it, a folder or
file with "test" in its name would become a split of its own, and the rest would not be loaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from dreamcache.core.locations import is_uri
from dreamcache.storage.open_store import join, open_store
from jobs.export.fetch import Lost
from jobs.export.folder import Copied, copy_images
from jobs.export.names import Names
from jobs.export.rows import row_json

LAYOUT = "{item_id}.{ext}"
FOLDER = "images"
CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.jsonl
    - "images/**"
---
# Images of job output {output}

Made with dreamcache. `metadata.jsonl` has a line for each image: its `file_name` and all columns of the job's manifest.
"""


def write_image_folder(names: Names, output: str, target: str) -> Iterator[Copied | Lost]:
    """Images below images/, then metadata.jsonl and README.md, which are written anew each time."""
    store = open_store(target)
    with tempfile.TemporaryDirectory(prefix="dreamcache-export-") as folder:
        path = Path(folder) / "metadata.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for done in copy_images(names, output, join(target, FOLDER)):
                if isinstance(done, Copied):
                    row = {("catalog_file_name" if n == "file_name" else n): v for n, v in done.row.items()}
                    file.write(row_json({"file_name": f"{FOLDER}/{done.name}", **row}) + "\n")
                yield done
        store.upload("metadata.jsonl", path)
    # A path of this machine means nothing to a reader elsewhere.
    shown = output if is_uri(output) else Path(output).name
    store.write("README.md", CARD.format(output=shown).encode())
