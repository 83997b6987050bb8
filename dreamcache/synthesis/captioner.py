"""The interface of what writes captions: numbered requests in, captions with their object and category out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Captions:
    """captions: dicts of caption, object, category. num_bad: lines of the answers that were no caption."""

    captions: Sequence[dict[str, str]]
    num_bad: int = 0


class Captioner(Protocol):
    """Writes the captions of requests `first` to `first + count - 1`."""

    source: str

    def __call__(self, first: int, count: int, seed: int) -> Captions: ...
