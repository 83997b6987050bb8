"""What follows from photos, by key: a value, or the lasting fault of the photo, which is not read for it again.

    key --held value--> it      --held fault--> ImageError again      --neither--> read, and one of the two is held

Knows which faults pass by; knows nothing of what is read from a photo.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from dreamcache.core.errors import ImageError
from dreamcache.core.lru import LRU
from dreamcache.storage.photo_faults import TEMPORARY

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class PhotoResults(Generic[K, V]):
    """Of the photos used last. One thread."""

    def __init__(self, capacity: int) -> None:
        self._values: LRU[K, V] = LRU(capacity)
        self._faults: LRU[tuple[K, str], tuple[str, str]] = LRU(capacity)

    def get_or(self, key: K, where: str, read: Callable[[], V]) -> V:
        """The value of `key`, which `read` provides where none is held. where: names the photo in its error.

        Raises the ImageError of `read`, also where it is held. A temporary fault and any other error are not held.
        """
        if fault := self._faults.get((key, where)):
            message, code = fault
            raise ImageError(message, code=code)
        try:
            return self._values.get_or(key, read)
        except ImageError as error:
            if error.code not in TEMPORARY:
                self._faults.put((key, where), (str(error), error.code))
            raise
