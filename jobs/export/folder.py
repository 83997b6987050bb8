"""Export to a folder: each image under the name of its layout. Knows files; knows nothing of what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dreamcache.core.errors import ImageError
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.open_store import open_store
from jobs.export.fetch import Lost, read_image
from jobs.export.names import Names, Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """One image that is in the target. kept: it was there before, with the same size."""

    name: str
    row: Row
    kept: bool


def copy_images(names: Names, output: str, target: str) -> Iterator[Copied | Lost]:
    """Copies every image to <target>/<name>, in order. An image that is lost is a value; StorageError ends all."""
    source, store = open_store(output), open_store(target)

    def copy(pair: tuple[str, Row]) -> Copied | Lost:
        name, row = pair
        present = store.stat(name)
        if present is not None and present.num_bytes == row["num_bytes"]:
            return Copied(name=name, row=row, kept=True)
        try:
            store.write(name, read_image(source, row))
        except ImageError as error:
            return Lost(item_id=row["item_id"], message=str(error))
        return Copied(name=name, row=row, kept=False)

    yield from map_ordered(copy, names, name="export")
