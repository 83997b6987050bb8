"""doctor against a real cluster with token authentication, its token right, wrong and missing."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import dreamcache, environment, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.tiny import save_base, save_random_adapter

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module")]
MARK = "DREAMCACHE_TEST_CLUSTER"


def _port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _end_marked(mark: str) -> None:
    """Every process of the cluster, wherever Ray put it."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:  # another user's, or gone
            continue


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A head with one CPU: {"address", "token"}."""
    mark, token, port = secrets.token_hex(8), secrets.token_hex(16), _port()
    folder = Path(tempfile.mkdtemp(prefix="dc-doctor-"))  # short: Ray's sockets lie below
    extra = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_TMPDIR": str(folder), MARK: mark}
    ray = str(Path(sys.prefix) / "bin" / "ray")
    command = [ray, "start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    log = folder / "log"
    try:
        for _ in range(2):  # a busy machine may miss Ray's fixed time to start
            with log.open("wb") as file:
                done = subprocess.run(
                    command, env=environment(extra), stdout=file, stderr=file, timeout=90, check=False
                )
            if done.returncode == 0:
                break
        assert done.returncode == 0, log.read_text()
        yield {"address": f"127.0.0.1:{port}", "token": token}
    finally:
        _end_marked(mark)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("job")
    base = save_base(folder / "base")
    model = {"base": str(base), "adapter": str(save_random_adapter(folder / "adapter", base))}
    catalog = write_catalog(folder, write_photos(folder, 1))
    return write_job(folder, catalog=catalog, output="output", prompts=["x"], model=model)


def test_every_node_is_asked(cluster: dict[str, str], job: str) -> None:
    extra = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster["token"]}
    done = dreamcache("doctor", job, "--address", cluster["address"], "--json", extra=extra)
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert found["cluster: reachable"]["finding"] == "1 nodes answer, with a token"
    assert found["cluster: room for the workers"]["state"] == "warn"  # 1.5 CPUs declared, 1 there
    for name in ("versions: equal everywhere", "nodes: same model files", "nodes: see the output"):
        assert found[name]["state"] == "ok", found[name]
    assert found["memory: one micro-batch"]["state"] == "ok"
    assert not (Path(job).parent / "output").exists()


@pytest.mark.parametrize(
    "extra", [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 32}, {"RAY_AUTH_MODE": "disabled"}]
)
def test_a_refused_token_is_reported_at_once(
    cluster: dict[str, str], job: str, extra: dict[str, str]
) -> None:
    started = time.monotonic()
    done = dreamcache("doctor", job, "--address", cluster["address"], "--json", extra=extra)
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert "refuses the token" in found["cluster: reachable"]["finding"]
    assert "RAY_AUTH_TOKEN" in found["cluster: reachable"]["remedy"]
    assert found["versions: equal everywhere"]["state"] == "skip"
    assert found["output: conditional write"]["state"] == "ok"
    assert time.monotonic() - started < 20
