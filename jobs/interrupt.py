"""Ctrl-C that is never lost: Python raises KeyboardInterrupt wherever the main thread is, and some library code there
swallows it. Knows signals only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yields check(), which raises KeyboardInterrupt when one was asked for, now or before."""
    asked = threading.Event()

    def on_sigint(number: int, frame: Any) -> None:
        asked.set()
        raise KeyboardInterrupt

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals go to the main thread alone
        return
    before = signal.signal(signal.SIGINT, on_sigint)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
