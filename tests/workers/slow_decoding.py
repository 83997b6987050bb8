"""Pipelines whose decoding takes half a second longer, and fails for the second batch: a Ray worker's setup hook."""

from __future__ import annotations

import time
from typing import Any

SECONDS = 0.5


def set_up() -> None:
    """In a worker process that has just started."""
    from dreamcache.inference.pipeline import DreamCachePipeline

    decode, count = DreamCachePipeline.decode, 0

    def slow(self: DreamCachePipeline, latents: Any, output_type: str = "pt") -> Any:
        nonlocal count
        count += 1
        if count == 3:  # the warm-up's is the first
            raise RuntimeError("a kernel that fails once")
        time.sleep(SECONDS)
        return decode(self, latents, output_type)

    DreamCachePipeline.decode = slow  # type: ignore[method-assign]
