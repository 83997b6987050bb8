"""What an input costs: a function called in a process of its own, with a bound on memory, timed.

Native decoders take memory that Python's own counters do not see, so the peak of the process is measured (VmHWM).
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamcache.core.errors import DreamCacheError

SECONDS = 10.0
BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """code: of the error, "" where there was none. seconds: of the call. peak: bytes above those before it."""

    code: str
    message: str
    seconds: float
    peak: int


def measured(action: Callable[..., Any], *arguments: Any) -> Cost:
    """Calls action(*arguments) in a fresh process. Raises what is no DreamCacheError."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, action, arguments).result(timeout=120)


def _run(action: Callable[..., Any], arguments: tuple[Any, ...]) -> Cost:
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    before, began = _peak(), time.monotonic()
    code = message = ""
    try:
        action(*arguments)
    except DreamCacheError as error:
        code, message = error.code, str(error)
    return Cost(code=code, message=message, seconds=time.monotonic() - began, peak=_peak() - before)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
