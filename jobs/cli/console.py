"""A quiet console: what Ray's C++ core and libraries print to this process's standard error stays away unless asked.

    file descriptor 2 -> a small process that drops lines of Ray's core -> the terminal or pipe
    sys.stderr, which our own lines use -> the terminal or pipe, as before

`--verbose` and DREAMCACHE_VERBOSE=1 leave everything as it is. Ray's own log files keep every line. Knows file
descriptors and forms of lines; knows nothing of jobs.
"""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from contextlib import suppress

from jobs.cluster.ray_cluster import VERBOSE

FLAG = "--verbose"
NOISY = (
    "ray",
    "transformers",
    "diffusers",
    "huggingface_hub",
    "urllib3",
    "botocore",
    "aiohttp",
    "websockets",
)
"""Loggers of libraries whose warnings are not about the user's job."""

CORE_LINE = rb"^(\x1b\[[0-9;]*m)*(\([^)]{1,80}\) ?)?\[\d{4}-\d\d-\d\d [\d:,. ]+[DIWE] \d+ \d+\]"
"""E.g. "[2026-11-27 08:24:20,404 E 15123 15123] core_worker.cc:2465: ..."; fatal lines (F) are shown."""

_FILTER = f"""
import re, sys
core = re.compile({CORE_LINE!r})
out = open(2, "wb", buffering=0, closefd=False)
for line in open(0, "rb", closefd=False):
    if not core.match(line):
        try:
            out.write(line)
        except OSError:
            pass
"""


def take_verbose(words: list[str]) -> bool:
    """Whether the command line or the environment asks for all output; removes the flag from `words`."""
    end = words.index("--") if "--" in words else len(words)
    asked = FLAG in words[:end]
    words[:] = [word for number, word in enumerate(words) if word != FLAG or number >= end]
    if asked:
        os.environ[VERBOSE] = "1"  # for the workers too
    return asked or os.environ.get(VERBOSE, "") not in ("", "0")


def quiet_libraries() -> None:
    """Their warnings are not printed by this process; errors are."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", module=rf"({'|'.join(NOISY)})\b.*")


def quiet_core() -> None:
    """Puts the filter behind file descriptor 2, once; nothing where standard error is not that descriptor."""
    stderr = sys.stderr
    with suppress(OSError, ValueError, AttributeError, io.UnsupportedOperation):
        if stderr.fileno() != 2:
            return
        stderr.flush()
        ours = os.dup(2)
        # Its own session: Ctrl-C is for us, and the filter must live until the last line is read.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        os.dup2(process.stdin.fileno(), 2)
        process.stdin.close()
        process.returncode = 0  # it ends with the last process that holds the pipe; nobody waits for it
        sys.stderr = open(ours, "w", encoding=stderr.encoding, errors="backslashreplace", buffering=1)
