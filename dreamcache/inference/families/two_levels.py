"""What a worker computed for its last subjects: as much as fits on the device, then in host memory.

    get_or(key) -> on the device | back from the host | computed        device --least recently used--> host --> dropped

To lose a value costs its computation and changes no pixel; a value that was on the host is the same to the bit. Knows
sizes and where values are; knows nothing of what they hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

from dreamcache.core.lru import LRU

DEVICE_SHARE = 0.3
"""Of the device's memory that is free once the weights are loaded."""

HOST_SHARE = 0.1
"""Of the machine's free memory: a node has a few workers, and photos and images of its own."""

CPU_BYTES = 2 << 30

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TwoLevels(Generic[K, V]):
    """Values by key. computed: how many were computed so far; returned: how many came back from the host."""

    def __init__(
        self,
        *,
        device_bytes: int,
        host_bytes: int,
        size: Callable[[V], int],
        to_host: Callable[[V], V],
        to_device: Callable[[V], V],
    ) -> None:
        """device_bytes, host_bytes: the most that each level holds; host_bytes 0 has no second level."""
        self.computed = self.returned = 0
        self._to_host, self._to_device = to_host, to_device
        self._host: LRU[K, V] | None = LRU(host_bytes, size=size) if host_bytes else None
        self._device: LRU[K, V] = LRU(device_bytes, size=size, on_drop=self._drop)

    def get_or(self, key: K, compute: Callable[[], V]) -> V:
        """The value on the device. An error of compute() changes nothing."""
        known = self._device.get(key)
        if known is not None:
            return known
        waiting = self._host.take(key) if self._host is not None else None
        if waiting is not None:
            self.returned += 1
            return self._device.put(key, self._to_device(waiting))
        value = compute()
        self.computed += 1
        return self._device.put(key, value)

    def _drop(self, key: K, value: V) -> None:
        if self._host is not None:
            self._host.put(key, self._to_host(value))


def device_bytes(device: torch.device, to_come: int = 0) -> int:
    """What values on a device may take, by default. to_come: bytes that offloaded weights will take of what is free."""
    if device.type != "cuda":
        return CPU_BYTES
    return int(DEVICE_SHARE * max(0, torch.cuda.mem_get_info(device)[0] - to_come))


def host_bytes(device: torch.device) -> int:
    """What values that left a device may take, by default; none where the device is the host."""
    if device.type == "cpu":
        return 0
    return int(HOST_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
