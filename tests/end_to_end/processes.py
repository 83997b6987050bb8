"""A command with all processes it starts, wherever they put themselves: found by a mark in their environment."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from tests.command import COMMAND, environment

MARK = "DREAMCACHE_TEST_MARK"
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""These hold no work and no model. After their node's death they try for 60 s to report it, then end."""


def marked(mark: str) -> dict[int, str]:
    """Names by id of the processes that carry this mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text("utf-8", "replace")[:60].strip("\0 ")
    return found


class Running:
    """`dreamcache ...` in a session of its own; `stderr` and `stdout` go to one file."""

    def __init__(self, *args: str, extra: Mapping[str, str], log: Path) -> None:
        self.mark = secrets.token_hex(16)
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [COMMAND, *args],
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=environment({**extra, MARK: self.mark}),
            )

    def wait_until(self, reached: Callable[[], bool], *, seconds: float = 400, every: float = 0.02) -> bool:
        """True when `reached`, False when the command ended before; AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if reached():
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(every)
        raise AssertionError(f"not reached in {seconds} s; the command said:\n{self.log.read_text()}")

    def end(self, how: signal.Signals) -> int:
        """Signals the driver process alone and returns its exit code."""
        os.kill(self.process.pid, how)
        return self.process.wait(timeout=60)

    def left(self, *, but: Collection[str] = ()) -> dict[int, str]:
        """Names by id of this command's processes that are there now, the driver among them."""
        found = marked(self.mark)
        return {pid: name for pid, name in found.items() if name not in but}

    def wait_alone(self, seconds: float, *, but: Collection[str] = ()) -> None:
        """AssertionError, with the names, when some of the command's processes are still there after `seconds`."""
        deadline = time.monotonic() + seconds
        while left := self.left(but=but):
            assert time.monotonic() < deadline, f"still there after {seconds} s: {left}"
            time.sleep(0.1)


@contextlib.contextmanager
def running(*args: str, extra: Mapping[str, str], log: Path) -> Iterator[Running]:
    """Starts a command; nothing of it is left afterwards, whatever happens."""
    command = Running(*args, extra=extra, log=log)
    try:
        yield command
    finally:
        for pid in command.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.process.wait(timeout=60)
