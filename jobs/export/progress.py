"""How far an export is: a line on stderr now and then. Knows counts and clocks only."""

from __future__ import annotations

import sys
import time

LINE_INTERVAL_S = 5.0


class ExportProgress:
    """total: images to come; quiet: say nothing."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self.total = total
        self.quiet = quiet
        self.ended = self.kept = 0
        self.num_bytes = 0
        self.started = self.told = time.monotonic()

    def add(self, num_bytes: int, *, kept: bool = False) -> None:
        """One more image is there; `kept` if it was there before."""
        self.ended += 1
        self.kept += kept
        self.num_bytes += 0 if kept else num_bytes
        now = time.monotonic()
        if not self.quiet and now - self.told >= LINE_INTERVAL_S:
            self.told = now
            print(self.line(now - self.started), file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        """E.g. "images 120/400  3.1 MB/s  ETA 12 s"."""
        made = self.ended - self.kept
        left = (self.total - self.ended) * seconds / made if made else 0.0
        eta = f"ETA {left:.0f} s" if made else "ETA -"
        return (
            f"images {self.ended}/{self.total}  {self.num_bytes / 1e6 / max(seconds, 1e-9):.1f} MB/s  {eta}"
        )
