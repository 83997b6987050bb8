"""A bounded memory of recent values: the one used least recently goes first. Knows nothing of what it holds.

One thread at a time; a user with several threads locks around it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(Generic[K, V]):
    """Values by key, up to a total size; the newest value stays whatever its size."""

    def __init__(
        self,
        capacity: int,
        *,
        size: Callable[[V], int] = lambda value: 1,
        on_drop: Callable[[K, V], None] = lambda key, value: None,
    ) -> None:
        """capacity: the most that sizes may sum to. size: of a value, in any unit; without it values are counted.

        on_drop: receives what had to go, and not what was taken or replaced.
        """
        self.capacity = capacity
        self.total = 0
        self._size, self._on_drop = size, on_drop
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        """Whether the value is there; does not count as a use."""
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        """Keys, least recently used first."""
        return iter(self._values)

    def get(self, key: K) -> V | None:
        """The value, now the most recently used; None when there is none."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: K, value: V) -> V:
        """Holds the value as the most recently used one and returns it; drops what exceeds the capacity."""
        if key in self._values:
            self.total -= self._size(self._values.pop(key))
        self._values[key] = value
        self.total += self._size(value)
        while self.total > self.capacity and len(self._values) > 1:
            dropped = self._values.popitem(last=False)
            self.total -= self._size(dropped[1])
            self._on_drop(*dropped)
        return value

    def take(self, key: K) -> V | None:
        """The value, which is no longer held; None when there is none."""
        if key not in self._values:
            return None
        value = self._values.pop(key)
        self.total -= self._size(value)
        return value

    def get_or(self, key: K, create: Callable[[], V]) -> V:
        """The value of `key`; create() provides it when there is none. An error of create() changes nothing."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        return self.put(key, create())
