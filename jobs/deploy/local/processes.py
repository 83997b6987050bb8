"""Processes of one local cluster: known by a variable in their environment, so that no other is ever ended.

Knows processes and ports; knows nothing of Ray or S3.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from dreamcache.core.errors import DreamCacheError

HOST = "127.0.0.1"
MARK = "DREAMCACHE_LOCAL_CLUSTER"
PART_MARK = "DREAMCACHE_LOCAL_PART"
STOP_S = 10.0
PAUSE_S = 0.2
LOG_TAIL = 1500
PORTS = range(20_000, 32_000)
"""Below those the system lends to clients."""


class LocalClusterError(DreamCacheError):
    """A local cluster cannot be started, or none runs in the folder."""

    code = "local_cluster"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterPart:
    """A process of the cluster. ports: it is up once all of them are open."""

    name: str
    command: Sequence[str]
    variables: Mapping[str, str]
    ports: tuple[int, ...]


def bring_up(folder: Path, parts: Sequence[ClusterPart], *, timeout_s: float) -> None:
    """Starts parts side by side and waits until all are up; one that ends before that is started again.

    On a busy machine Ray gives a node up after its own half a minute; the next try finds the files in memory. Raises
    LocalClusterError, with the log of the part that is late, after `timeout_s`.
    """
    started_s = time.monotonic()
    processes = {part.name: _start(folder, part) for part in parts}
    tries = dict.fromkeys(processes, 1)
    waiting = list(parts)
    while waiting := [part for part in waiting if not all(map(is_open, part.ports))]:
        if time.monotonic() - started_s > timeout_s:
            raise _late(folder, waiting[0], processes, tries, timeout_s)
        for part in waiting:
            if processes[part.name].poll() is not None:
                stop(folder, part.name)  # what it has started itself
                processes[part.name] = _start(folder, part)
                tries[part.name] += 1
        time.sleep(PAUSE_S)


def running(folder: Path, part: str | None = None) -> list[psutil.Process]:
    """Every process that carries the folder's mark, or of one of its parts, whoever its parent is now."""
    marked = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            variables = process.environ()
            is_ours = variables.get(MARK) == str(folder) and part in (None, variables.get(PART_MARK))
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                marked.append(process)
    return marked


def stop(folder: Path, part: str | None = None) -> int:
    """Ends all of `running`; how many there were."""
    first = running(folder, part)
    for process in first:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(first, timeout=STOP_S)
    late = running(folder, part)
    for process in late:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(late, timeout=STOP_S)
    return len(first)


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


def _start(folder: Path, part: ClusterPart) -> subprocess.Popen[bytes]:
    """A process that outlives this one; its log is <folder>/<name>.log."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_"))}
    with (folder / f"{part.name}.log").open("ab") as log:
        return subprocess.Popen(
            list(part.command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**ours, **part.variables, MARK: str(folder), PART_MARK: part.name},
            cwd=folder,
            start_new_session=True,
        )


def _late(
    folder: Path,
    part: ClusterPart,
    processes: Mapping[str, subprocess.Popen[bytes]],
    tries: Mapping[str, int],
    timeout_s: float,
) -> LocalClusterError:
    code = processes[part.name].poll()
    state = "still starts" if code is None else f"ended with code {code}"
    log = folder / f"{part.name}.log"
    tail = log.read_text("utf-8", "replace")[-LOG_TAIL:].strip().splitlines()
    last = next((line for line in reversed(tail) if line.strip()), "nothing")
    return LocalClusterError(
        f"{part.name} must be up within {timeout_s:.0f} s (--timeout), {state}, started {tries[part.name]} times; its "
        f"log '{log}' ends: {last}"
    )
