"""A real Ray head of a test's own, started as users do with `ray start --head`, with token authentication.

Its ports, folder and token are its own, so it meets no other cluster of the machine; `close` ends its processes only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ray_node import Node
from tests.s3_server import free_ports

START_SECONDS = 90.0


class RayHead:
    """`python`: the interpreter whose Ray is started. `env`: all variables of the cluster, e.g. AWS_*."""

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        python: Path | str = sys.executable,
        cpus: int = 2,
        token: bool = True,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dc-ray-"))  # short: Ray's sockets lie below
        self.python, self.cpus, self.env = Path(python), cpus, dict(env)
        names = ("port", "dashboard-port", "ray-client-server-port")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.token = secrets.token_hex(32) if token else None
        self.node: Node | None = None

    @property
    def url(self) -> str:
        """Of the dashboard, where the Jobs API is."""
        return f"http://127.0.0.1:{self.ports['dashboard-port']}"

    @property
    def gcs(self) -> str:
        return f"127.0.0.1:{self.ports['port']}"

    def access(self) -> dict[str, str]:
        """The variables a client needs to be let in, and none that leads it to another cluster."""
        if self.token is None:
            return {"RAY_AUTH_MODE": "disabled"}
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start(self) -> Self:
        folder = self.python.parent  # not resolved: a virtual environment's interpreter is a link
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_DISABLE_IMPORT_WARNING": "1"}
        env = {**quiet, **self.env, **self.access()}
        env["PATH"] = f"{folder}{os.pathsep}{env['PATH']}"  # as in an activated environment
        options: dict[str, object] = {**self.ports, "dashboard-host": "127.0.0.1", "num-cpus": self.cpus}
        options |= {"temp-dir": self.folder / "ray", "object-store-memory": 200_000_000}
        self.node = Node(self.folder, env, options, is_head=True, python=self.python)
        self._wait_ready(self.node)
        return self

    def close(self) -> None:
        if self.node is not None:
            self.node.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.node.process.wait(timeout=10)
            self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _wait_ready(self, node: Node) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and node.process.poll() is None:
            request = urllib.request.Request(f"{self.url}/api/jobs/", headers=headers)
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(request, timeout=5),
            ):
                return
            time.sleep(0.2)
        raise RuntimeError(f"Ray did not start; it said:\n{node.log.read_text('utf-8', 'replace')[-3000:]}")
