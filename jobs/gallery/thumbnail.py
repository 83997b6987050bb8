"""Small copies of reference photos for the gallery. Knows image bytes only; never raises for a bad photo.

Photos pass the same checks as in a job. Threads that scale photos at the same time share a `PixelBudget`.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import decode_small, on_white

PIXELS_IN_FLIGHT = 60_000_000
"""Decoded at once by all threads, about 12 bytes each while they are converted; one photo may have more alone."""

Admit = Callable[[int], AbstractContextManager[object]]


class PixelBudget:
    """How many pixels the threads of this process hold decoded. One photo over the limit is admitted alone."""

    def __init__(self, limit: int = PIXELS_IN_FLIGHT) -> None:
        self.limit = limit
        self.highest = 0
        self._in_flight = 0
        self._changed = threading.Condition()

    @contextmanager
    def admit(self, num_pixels: int) -> Iterator[None]:
        """Waits until `num_pixels` more fit, and holds them."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight or self._in_flight + num_pixels <= self.limit)
            self._in_flight += num_pixels
            self.highest = max(self.highest, self._in_flight)
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= num_pixels
                self._changed.notify_all()


def make_thumbnail(
    data: bytes, side: int = 256, *, limits: ImageLimits | None = None, admit: Admit = nullcontext
) -> bytes | None:
    """WebP of at most `side` x `side` pixels, upright and on white; None if a job could not read the photo either.

    admit: entered while pixels are decoded, e.g. `PixelBudget.admit`.
    """
    try:
        small = decode_small(data, where="photo", limits=limits or ImageLimits(), side=side, admit=admit)
        out = io.BytesIO()
        on_white(small).save(out, "WEBP", quality=82, method=4)
        return out.getvalue()
    except Exception:  # noqa: BLE001 - decoders raise many kinds; a gallery without one photo is better than none
        return None
