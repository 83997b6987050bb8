"""Reading a job's images for an export. Knows stores; knows nothing of forms of export."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.errors import ImageError
from dreamcache.storage.open_store import BoundStore
from jobs.export.names import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """An image that the manifest names and the storage has not, or not as it was."""

    item_id: str
    message: str


def read_image(output: BoundStore, row: Row) -> bytes:
    """The image's file. Raises ImageError when it is gone or has another size than its record says."""
    uri = output.at(row["key"])
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
