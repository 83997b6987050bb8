"""Export to a folder: each image under the name of its layout. Knows files; knows nothing of what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dreamcache.core.errors import ImageError
from dreamcache.storage.open_store import join, store_for
from jobs.export.fetch import Lost, in_parallel, read_image
from jobs.export.names import Names, Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """One image that is at its place. kept: it was there before, with the same size."""

    name: str
    row: Row
    kept: bool


def copy_images(names: Names, output: str, target: str) -> Iterator[Copied | Lost]:
    """Copies every image to <target>/<name>, in order. An image that is lost is a value; StorageError ends all."""
    store = store_for(target)

    def copy(pair: tuple[str, Row]) -> Copied | Lost:
        name, row = pair
        uri = join(target, name)
        there = store.stat(uri)
        if there is not None and there.num_bytes == row["num_bytes"]:
            return Copied(name=name, row=row, kept=True)
        try:
            store.write(uri, read_image(output, row))
        except ImageError as error:
            return Lost(item_id=row["item_id"], message=str(error))
        return Copied(name=name, row=row, kept=False)

    yield from in_parallel(copy, names)
