"""Which process drives a run: enough to find out later whether it still lives.

    this process -> Driver -> status.json -> is_alive: True, False, or None on another machine

Knows /proc of Linux; knows nothing of runs. Where /proc is not there, only the heartbeat counts.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

GONE = ("Z", "X", "x")
"""States of a process that runs no more: its parent has not asked for its end yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """One process of one machine. boot_id: of the machine's start; pid_namespace: of its container; both "" where
    unknown. process_started: clock ticks from the machine's start, so that a process id that is used again is not
    mistaken for this process; 0 where unknown. run_id: 16 hex digits, new for every run."""

    host: str
    pid: int
    run_id: str
    boot_id: str = ""
    pid_namespace: str = ""
    process_started: int = 0

    def __post_init__(self) -> None:
        texts = (self.host, self.run_id, self.boot_id, self.pid_namespace)
        numbers = (self.pid, self.process_started)
        if not all(isinstance(text, str) and len(text) <= 300 for text in texts):
            raise ValueError("driver must have texts as host and ids")
        if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in numbers):
            raise ValueError("driver must have whole numbers as pid and process_started")


def this_driver() -> Driver:
    """This process, about to begin a run."""
    return Driver(
        host=socket.gethostname()[:200],
        pid=os.getpid(),
        run_id=secrets.token_hex(8),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        process_started=(_stat(os.getpid()) or ("", 0))[1],
    )


def is_alive(driver: Driver) -> bool | None:
    """Whether the process runs; None where that cannot be seen from here: another machine or container."""
    here = _boot_id(), _pid_namespace()
    if not all(here) or here != (driver.boot_id, driver.pid_namespace) or not driver.process_started:
        return None
    stat = _stat(driver.pid)
    if stat is None and _stat(1) is None:
        return None  # processes of others are hidden on this machine
    return stat is not None and stat[1] == driver.process_started and stat[0] not in GONE


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """(state, start in clock ticks) of a process; None for none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name of a process may hold spaces and brackets; what follows its last bracket does not.
    fields = text.rpartition(")")[2].split()
    return (fields[0], int(fields[19])) if len(fields) > 19 else None
