"""A command on a terminal of its own, as a user at a keyboard has it, and what it prints there.

on_terminal(["dreamcache", "status", "out"], env) -> (exit code, text)
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

CONTROL = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")


def on_terminal(command: Sequence[str], env: Mapping[str, str], seconds: float = 400) -> tuple[int, str]:
    """(exit code, all that the command has written). Raises TimeoutError; the command's session is then ended."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    deadline, text = time.monotonic() + seconds, b""
    try:
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{command}: {text[-2000:]!r}")
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    chunk = os.read(ours, 65536)
                except OSError:  # nobody holds the other end any more
                    break
                if not chunk:
                    break
                text += chunk
            elif process.poll() is not None and not select.select([ours], [], [], 1.0)[0]:
                break
        return process.wait(timeout=max(1.0, deadline - time.monotonic())), text.decode("utf-8", "replace")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)


def lines_of(text: str) -> list[str]:
    """The lines that a reader of the terminal has seen, those too that were written over; without control sequences."""
    return [line for line in map(str.strip, re.split(r"[\r\n]+", CONTROL.sub("", text))) if line]
