"""Ctrl-C and SIGTERM that are never lost: Python raises KeyboardInterrupt wherever the main thread is, and some library
code there swallows it. Knows signals only."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""SIGTERM is what `ray job stop` and Kubernetes send."""


def interrupt_of(error: BaseException, check: Callable[[], None]) -> KeyboardInterrupt | None:
    """The interrupt that has ended the work, if one has: library code may turn it into an error of its own.

    check: of `interruptible`.
    """
    if isinstance(error, KeyboardInterrupt):
        return error
    try:
        check()
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


@contextmanager
def interrupting_when(reached: Callable[[], object], every_s: float = 1.0) -> Iterator[None]:
    """Interrupts the main thread, as Ctrl-C does, once reached() is true, also while it waits for something.

    Does nothing in another thread than the main one. Use within `interruptible`.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every_s):
            if reached():
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=watch, name="limits", daemon=True)
    if threading.current_thread() is threading.main_thread():
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()  # an interrupt on its way arrives here, and not after the work


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yields check(), which raises KeyboardInterrupt when one was requested, now or before."""
    requested = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        requested.set()
        raise KeyboardInterrupt

    def check() -> None:
        if requested.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals go to the main thread alone
        return
    before = {number: signal.signal(number, on_signal) for number in STOPPING}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
