"""A worker's watch with a book in the same process, which is no Ray actor: the worker's rules without a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dreamcache.core.config.failures import FailurePolicy
from workers.attempts import AttemptBook
from workers.guard import Watch


@dataclass(frozen=True, kw_only=True, slots=True)
class NearMethod:
    """What a handle's method is to a worker; the call is made at once."""

    method: Any

    def remote(self, *args: object) -> Any:
        return self.method(*args)


class NearBook:
    """An `AttemptBook` as its actor's handle looks."""

    def __init__(self, policy: FailurePolicy) -> None:
        self.book = AttemptBook(policy)

    def __getattr__(self, name: str) -> NearMethod:
        return NearMethod(method=getattr(self.book, name))


class NearWatch(Watch):
    """Takes answers as they are."""

    def _name(self) -> str:
        return "near"

    def _restarts(self) -> int:
        return 0

    def _ask(self, method: Any, *args: object) -> Any:
        return method.remote(*args)


def near_watch(policy: FailurePolicy) -> NearWatch:
    """A watch of one unpriced worker on the CPU."""
    return NearWatch(NearBook(policy), policy, gpus=0, memory_bytes=1 << 50)
