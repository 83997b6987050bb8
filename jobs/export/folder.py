"""Export to a folder: each image under the name of its layout. Knows files; knows nothing of what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dreamcache.core.errors import ImageError
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.open_store import BoundStore, open_store
from jobs.export.fetch import Lost, read_image
from jobs.export.names import Names, Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """One image that is in the target. kept: it was there before, with the same content."""

    name: str
    row: Row
    kept: bool


def copy_images(names: Names, output: str, target: str) -> Iterator[Copied | Lost]:
    """Copies every image to <target>/<name>, in order. An image that is lost is a value; StorageError ends all."""
    source, store = open_store(output), open_store(target)

    def copy(pair: tuple[str, Row]) -> Copied | Lost:
        name, row = pair
        present = store.stat(name)
        has_size = present is not None and present.num_bytes == row["num_bytes"]
        if has_size and names.layout.is_by_item:
            return Copied(name=name, row=row, kept=True)
        try:
            data = read_image(source, row)
        except ImageError as error:
            return Lost(item_id=row["item_id"], message=str(error))
        # A name without the item's id says nothing of the content: the image of other settings may have this size.
        if has_size and _has_content(store, name, data):
            return Copied(name=name, row=row, kept=True)
        store.write(name, data)
        return Copied(name=name, row=row, kept=False)

    yield from map_ordered(copy, names, name="export")


def _has_content(store: BoundStore, name: str, data: bytes) -> bool:
    try:
        return store.read(name) == data
    except FileNotFoundError:
        return False
