"""Reading a job's images for an export. Knows stores; knows nothing of forms of export."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.errors import ImageError
from dreamcache.core.locations import is_local
from dreamcache.storage.item_keys import is_key_of
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import BoundStore
from jobs.export.names import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """An image that the manifest names and the storage has not, or not as it was."""

    item_id: str
    message: str


def is_link(uri: str) -> bool:
    """Whether an image's place holds a link, which dreamcache never writes: it may lead out of the output."""
    return is_local(uri) and local_path(uri).is_symlink()


def read_image(output: BoundStore, row: Row) -> bytes:
    """The image's file. Raises ImageError `lost` when it is gone, has another size than its record says, or when the
    row names anything but its own item's image: a manifest may come from anyone who can write to the folder.
    """
    if not is_key_of(row["key"], row["item_id"]):
        raise ImageError(
            f"{output.root}: the manifest names {ascii(row['key'])[:200]} as the image of item "
            f"{ascii(row['item_id'])[:80]}, which is not that item's key; run the job again",
            code="lost",
        )
    uri = output.at(row["key"])
    if is_link(uri):
        raise ImageError(
            f"{uri}: must be an image that dreamcache wrote, got a symbolic link; run the job again",
            code="lost",
        )
    try:
        data = output.read(row["key"])
    except FileNotFoundError:
        raise ImageError(
            f"{uri}: the manifest names this image, there is none; was it deleted?", code="lost"
        ) from None
    if len(data) != row["num_bytes"]:
        message = f"{uri}: must have {row['num_bytes']} bytes as recorded, has {len(data)}; it was changed"
        raise ImageError(message, code="lost")
    return data
