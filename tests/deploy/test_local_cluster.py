"""deploy/local/cluster.py: up, a job on it through `run --address`, its metrics, down without touching others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.command import COMMAND, environment, write_job
from tests.deploy.files import DEPLOY
from workers.telemetry import METRICS

CLUSTER = DEPLOY / "local" / "cluster.py"
NUM_IMAGES = 2 * 2 * 3
NO_OCCASION = {"dreamcache_storage_retries", "dreamcache_oom_halvings"}
"""Nothing in a healthy run gives rise to them."""


def cluster(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CLUSTER), *args], capture_output=True, text=True, timeout=200, check=False
    )


def exports(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.M))


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: Ray's sockets need a short one.
    made = Path(tempfile.mkdtemp(prefix="dcl-")).resolve()
    yield made
    cluster("down", "--folder", str(made))
    shutil.rmtree(made, ignore_errors=True)


def test_refusals_name_the_remedy(tmp_path: Path) -> None:
    deep = tmp_path / "a-folder-whose-name-is-much-too-long"
    assert "choose a shorter one" in cluster("up", "--folder", str(deep)).stderr
    for verb in ("env", "status"):
        done = cluster(verb, "--folder", str(tmp_path / "none"))
        assert done.returncode == 1
        assert "'up' starts one" in done.stderr
    assert cluster("down", "--folder", str(tmp_path), "--delete").stdout == "stopped 0 processes\n"
    assert tmp_path.exists()


@pytest.mark.slow
@pytest.mark.turns(unit="module")
@pytest.mark.ray
def test_a_job_runs_on_it_and_exports_its_metrics(folder: Path, tmp_path: Path) -> None:
    up = cluster("up", "--workers", "1", "--cpus", "2", "--folder", str(folder))
    assert up.returncode == 0, up.stderr
    variables = exports(up.stdout)
    assert (folder / "auth_token").stat().st_mode & 0o077 == 0
    assert "'down' stops it" in cluster("up", "--folder", str(folder)).stderr
    state = json.loads(cluster("status", "--folder", str(folder)).stdout)
    assert state["open"] == {"s3": True, "ray-0": True, "ray-1": True}

    subprocess.run([COMMAND, "init", str(tmp_path), "--sample", "2"], env=environment(), check=True)
    job = write_job(
        tmp_path / "job",
        catalog=str(tmp_path / "catalog.csv"),
        output="s3://dreamcache/jobs/tried",
        prompts=["a photo of a {class_name} on the beach", "a photo of a {class_name} in the snow"],
        samples=3,
        workers={"batch_size": 2},
    )
    command = [COMMAND, "run", job, "--address", variables["RAY_ADDRESS"], "--json", "--no-gallery"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(variables)) as running:
        wanted = {f"ray_{name}" for name in set(METRICS) - NO_OCCASION}
        seen = watch(state["metrics"], wanted, running)
        report = json.loads(running.communicate(timeout=100)[0])
    assert (report["exit_code"], report["done"]) == (0, NUM_IMAGES)
    assert wanted - set(seen) == set()
    images = [value for series, value in seen["ray_dreamcache_images"].items() if 'status="done"' in series]
    assert sum(images) == NUM_IMAGES
    assert all('job_name="tried"' in series for series in seen["ray_dreamcache_images"])

    unrelated = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)  # ray start raylet"])
    try:
        assert cluster("down", "--folder", str(folder)).returncode == 0
        assert not [
            one for one in psutil.process_iter(["cmdline"]) if str(folder) in str(one.info["cmdline"])
        ]
        assert unrelated.poll() is None
    finally:
        unrelated.kill()
        unrelated.wait()
    assert cluster("status", "--folder", str(folder)).returncode == 1


def watch(urls: list[str], wanted: set[str], job: subprocess.Popen[str]) -> dict[str, dict[str, float]]:
    """Scrapes until the job has ended and all its images are counted: metric -> series -> its last value."""
    seen: dict[str, dict[str, float]] = {}
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for url in urls:
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
            for name, series, value in re.findall(r"^(ray_dreamcache_\w+)(\{.*\}) (\S+)$", text, re.M):
                base = re.sub(r"_(total|bucket|sum|count)$", "", name)
                seen.setdefault(base, {})[name + series] = float(value)
        counted = sum(seen.get("ray_dreamcache_images", {}).values())
        if job.poll() is not None and wanted <= set(seen) and counted >= NUM_IMAGES:
            break
        time.sleep(1)
    return seen
