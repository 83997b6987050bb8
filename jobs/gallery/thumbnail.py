"""Small copies of reference photos for the gallery. Knows image bytes only; never raises for a bad photo.

Photos pass the same checks as in a job. Threads that scale photos at the same time share a `Scaler`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import decode_small, on_white

LARGE_PIXELS = 4_000_000
"""Decoded pixels, about 12 bytes each while they are converted, from which on a photo waits for the others."""

Step = Callable[[], Image.Image]


class Scaler:
    """Decodes small photos in the thread that asks, and large ones one after the other in a thread of its own.

    One thread, not a lock: what a thread has freed stays in its own part of the heap, so that 16 threads would keep
    the memory of 16 large photos.
    """

    def __init__(self) -> None:
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-photos")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._large.shutdown(cancel_futures=True)

    def run(self, num_pixels: int, step: Step) -> Image.Image:
        """step(), which decodes so many pixels."""
        return step() if num_pixels < LARGE_PIXELS else self._large.submit(step).result()


def make_thumbnail(
    data: bytes,
    side: int = 256,
    *,
    limits: ImageLimits | None = None,
    run: Callable[[int, Step], Image.Image] = lambda num_pixels, step: step(),
) -> bytes | None:
    """WebP of at most `side` x `side` pixels, upright and on white; None if a job could not read the photo either.

    run: where the pixels are decoded, e.g. `Scaler.run`.
    """
    try:
        small = decode_small(data, where="photo", limits=limits or ImageLimits(), side=side, run=run)
        out = io.BytesIO()
        on_white(small).save(out, "WEBP", quality=82, method=4)
        return out.getvalue()
    except Exception:  # noqa: BLE001 - decoders raise many kinds; a gallery without one photo is better than none
        return None
