"""One node of a Ray cluster, started as users do with `ray start --block`; its processes can be identified.

Its ports are its own, so that clusters and nodes of one machine do not meet.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from tests.end_to_end.processes import MARK, marked
from tests.s3_server import free_ports

NODE_PORTS = (
    "metrics-export-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "node-manager-port",
    "object-manager-port",
)


class Node:
    """`ray start --block` with all that it starts, known by a mark in their environment."""

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        options: Mapping[str, object],
        *,
        is_head: bool,
        python: Path | str = sys.executable,
    ) -> None:
        """folder: for its log, short, as Ray's sockets may lie below. options: of `ray start`."""
        self.mark = secrets.token_hex(16)
        self.log = folder / f"node-{self.mark[:8]}.log"
        # Nodes of one machine would meet in Ray's fixed range of ports; 0 lets the system choose.
        ports = dict(zip(NODE_PORTS, free_ports(len(NODE_PORTS)), strict=True))
        fixed = {"min-worker-port": 0, "max-worker-port": 0, "object-store-memory": 100_000_000}
        command = [str(python), "-m", "ray.scripts.scripts", "start", "--block", *(["--head"] * is_head)]
        command += [f"--{name}={value}" for name, value in {**ports, **fixed, **options}.items()]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**env, MARK: self.mark},
                start_new_session=True,
                cwd=folder,
            )

    def kill(self) -> None:
        """SIGKILL for all of its processes, as when the machine goes."""
        while left := marked(self.mark):
            kill_all(left)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)

    def kill_raylet(self) -> None:
        """SIGKILL for the raylet alone; Ray ends what is left of the node."""
        kill_all([pid for pid in marked(self.mark) if psutil.Process(pid).name() == "raylet"])


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL for those that are still there."""
    for pid in list(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
