"""How far an export is: a bar on a terminal, a line now and then elsewhere. Knows counts and clocks only."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from jobs.formatting import format_bytes, format_duration
from jobs.running.display import Display


class ExportProgress:
    """Use as a context manager. total: images to come; quiet: show nothing."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self.total = total
        self.ended = self.kept = 0
        self.num_bytes = 0
        self._display = Display("images", quiet=quiet)
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def add(self, num_bytes: int, *, kept: bool = False) -> None:
        """One more image is there; `kept` if it was there before."""
        self.ended += 1
        self.kept += kept
        self.num_bytes += 0 if kept else num_bytes
        self._display.show(self.ended, self.total, self.detail(time.monotonic() - self._started))

    def detail(self, seconds: float) -> str:
        """E.g. "3.1 MB/s  ETA 0:12"; images that were there before do not count."""
        written = self.ended - self.kept
        eta_s = (self.total - self.ended) * seconds / written if written else None
        speed = format_bytes(self.num_bytes / max(seconds, 1e-9))
        return f"{speed}/s" + (f"  ETA {format_duration(eta_s)}" if self.ended < self.total else "")
