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

from tests.end_to_end.processes import MARK, marked
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
        names = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
        names += ("node-manager-port", "object-manager-port", "metrics-export-port", "ray-client-server-port")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.token = secrets.token_hex(32) if token else None
        self.mark = secrets.token_hex(16)
        self.log = self.folder / "start.log"
        self.process: subprocess.Popen[bytes] | None = None

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
        env = {**quiet, **self.env, **self.access(), MARK: self.mark}
        env["PATH"] = f"{folder}{os.pathsep}{env['PATH']}"  # as in an activated environment
        ports = [f"--{name}={port}" for name, port in self.ports.items()]
        ports += ["--min-worker-port=0", "--max-worker-port=0"]  # any; the usual range could hold those above
        command = [str(self.python), "-m", "ray.scripts.scripts", "start", "--head", "--block", *ports]
        command += ["--dashboard-host=127.0.0.1", f"--num-cpus={self.cpus}"]
        command += [f"--temp-dir={self.folder / 'ray'}", "--object-store-memory=200000000"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=env, start_new_session=True, cwd=self.folder
            )
        self._wait_ready()
        return self

    def close(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=10)
            for pid in marked(self.mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(timeout=30)
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

    def _wait_ready(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            request = urllib.request.Request(f"{self.url}/api/jobs/", headers=headers)
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(request, timeout=5),
            ):
                return
            time.sleep(0.2)
        raise RuntimeError(f"Ray did not start; it said:\n{self.log.read_text('utf-8', 'replace')[-3000:]}")
