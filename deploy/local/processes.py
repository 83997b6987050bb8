"""Processes of one local cluster: known by a variable in their environment, so that no other is ever ended.

Knows processes and ports; knows nothing of Ray or S3.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

HOST = "127.0.0.1"
MARK = "DREAMCACHE_LOCAL_CLUSTER"
START_S = 120.0
STOP_S = 10.0
PORTS = range(20_000, 32_000)  # below those the system lends to clients


def start(
    folder: Path, name: str, command: list[str], variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Starts a command that outlives this process; its log is <folder>/<name>.log."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_"))}
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**ours, **variables, MARK: str(folder)},
            cwd=folder,
            start_new_session=True,
        )


def wait_open(folder: Path, name: str, process: subprocess.Popen[bytes], port: int) -> None:
    """Waits until a started process listens. Raises RuntimeError with its log when it does not."""
    deadline = time.monotonic() + START_S
    while not is_open(port):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = (folder / f"{name}.log").read_text(errors="replace")[-1500:]
            raise RuntimeError(
                f"{name} did not open port {port} within {START_S:.0f} s; its log ends:\n{tail}"
            )
        time.sleep(0.1)


def running(folder: Path) -> list[psutil.Process]:
    """Every process that carries the folder's mark, whoever its parent is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def stop(folder: Path) -> int:
    """Ends all of `running`; how many there were."""
    found = running(folder)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(found, timeout=STOP_S)
    late = running(folder)
    for process in late:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(late, timeout=STOP_S)
    return len(found)


def free_ports() -> Iterator[int]:
    """Ports that are free now, all different."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((HOST, port))
            yield port


def is_open(port: int) -> bool:
    """Whether something listens there."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def program(name: str) -> str:
    """The program beside this interpreter, else on PATH. Raises RuntimeError."""
    beside = Path(sys.prefix) / "bin" / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"no program '{name}': install the development extra, pip install '.[dev]'")
    return found
