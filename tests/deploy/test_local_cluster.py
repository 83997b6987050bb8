"""`dreamcache cluster` from a wheel, away from the repository: up, a job by `run --address`, its metrics, down."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jobs.deploy.local.processes import ClusterPart, LocalClusterError, bring_up, free_ports, running, stop
from tests.command import error_of, in_process, write_job
from tests.installed import build_wheel, make_environment, outside
from workers.telemetry import METRICS

NUM_IMAGES = 2 * 2 * 3
SECONDS = 400
"""For the job, on a machine that does other things."""
NO_OCCASION = {"dreamcache_storage_retries", "dreamcache_oom_halvings"}
"""Nothing in a healthy run gives rise to them."""
LISTENS = """
import pathlib, socket, sys, time
tries = pathlib.Path("tries")
count = int(tries.read_text()) + 1 if tries.exists() else 1
tries.write_text(str(count))
if count <= int(sys.argv[2]):
    sys.exit("too slow")
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""
"""Listens on a port, but ends at once the first so many times."""


def exports(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.M))


def slow_part(failures: int) -> ClusterPart:
    port = next(free_ports())
    return ClusterPart(
        name="slow",
        command=[sys.executable, "-c", LISTENS, str(port), str(failures)],
        variables={},
        ports=(port,),
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: Ray's sockets need a short one.
    made = Path(tempfile.mkdtemp(prefix="dcl-")).resolve()
    yield made
    stop(made)
    shutil.rmtree(made, ignore_errors=True)


def test_refusals_name_the_remedy(tmp_path: Path, folder: Path) -> None:
    deep = tmp_path / "a-folder-whose-name-is-much-too-long"
    assert "choose a shorter one" in error_of(in_process("cluster", "up", "--folder", str(deep)))
    for verb in ("env", "status"):
        done = in_process("cluster", verb, "--folder", str(tmp_path / "none"))
        assert done.returncode == 1
        assert "'dreamcache cluster up' starts one" in error_of(done)
    assert (
        in_process("cluster", "down", "--folder", str(tmp_path), "--delete").stdout == "stopped 0 processes\n"
    )
    assert tmp_path.exists()
    folder.chmod(0o755)
    assert "must be yours alone" in error_of(in_process("cluster", "up", "--folder", str(folder), "--no-s3"))


def test_a_part_that_ends_while_it_starts_is_started_again(folder: Path) -> None:
    bring_up(folder, [slow_part(2)], timeout_s=20)
    assert (folder / "tries").read_text() == "3"
    assert len(running(folder, "slow")) == 1
    assert stop(folder) == 1


def test_the_timeout_is_the_one_that_is_stated(folder: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        LocalClusterError, match=r"within 2 s .* started ([2-9]|\d\d+) times; .* ends: too slow"
    ):
        bring_up(folder, [slow_part(10_000)], timeout_s=2)
    assert 2 <= time.monotonic() - started < 6


@pytest.mark.slow
@pytest.mark.turns(unit="module")
@pytest.mark.ray
def test_a_job_runs_on_it_and_exports_its_metrics(folder: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env", build_wheel(tmp_path / "wheel"))
    user = outside({}, tmp_path)

    def dreamcache(*words: str) -> list[str]:
        return [str(python), "-m", "dreamcache_start", *words]

    def cluster(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(dreamcache("cluster", *words), capture_output=True, text=True, timeout=300,
                              check=False, cwd=tmp_path, env=user)  # fmt: skip

    render_from_wheel(dreamcache("deploy", "render", "kuberay", "--job", "job.yaml"), tmp_path, user)
    up = cluster("up", "--workers", "1", "--cpus", "2", "--folder", str(folder))
    assert up.returncode == 0, up.stderr
    variables = exports(up.stdout)
    assert (folder / "auth_token").stat().st_mode & 0o077 == 0
    assert "'dreamcache cluster down' stops it" in cluster("up", "--folder", str(folder)).stderr
    state = json.loads(cluster("status", "--json", "--folder", str(folder)).stdout)
    assert state["open"] == {"s3": True, "ray-0": True, "ray-1": True}

    subprocess.run(
        dreamcache("init", str(tmp_path / "shop"), "--sample", "2"), env=user, cwd=tmp_path, check=True
    )
    job = write_job(
        tmp_path / "job",
        catalog=str(tmp_path / "shop" / "catalog.csv"),
        output="s3://dreamcache/jobs/tried",
        prompts=["a photo of a {class_name} on the beach", "a photo of a {class_name} in the snow"],
        samples=3,
        workers={"batch_size": 2},
        limits={"max_hours": 1},  # its metric has no sample without a limit
    )
    command = dreamcache("run", job, "--address", variables["RAY_ADDRESS"], "--json", "--no-gallery")
    check_metrics(command, state["metrics"], tmp_path, outside(variables, tmp_path))
    check_down(cluster, folder)


def check_metrics(command: list[str], urls: list[str], folder: Path, env: dict[str, str]) -> None:
    """The job ends well, and each metric was scraped meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=folder) as run:
        wanted = {f"ray_{name}" for name in set(METRICS) - NO_OCCASION}
        seen = watch(urls, wanted, run)
        report = json.loads(run.communicate(timeout=SECONDS)[0])
    assert (report["exit_code"], report["done"]) == (0, NUM_IMAGES)
    assert wanted - set(seen) == set()
    images = [value for series, value in seen["ray_dreamcache_images"].items() if 'status="done"' in series]
    assert sum(images) == NUM_IMAGES
    assert all('job_name="tried"' in series for series in seen["ray_dreamcache_images"])


def render_from_wheel(words: list[str], folder: Path, env: dict[str, str]) -> None:
    (folder / "job.yaml").write_text("name: a\ncatalog: s3://b/c.csv\noutput: s3://b/out\nprompts: [a mug]\n")
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder, env=env)
    assert "kind: RayJob" in done.stdout, "the wheel holds the templates"


def check_down(cluster: Callable[..., subprocess.CompletedProcess[str]], folder: Path) -> None:
    """The cluster ends, and nothing else does."""
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
    deadline = time.monotonic() + SECONDS
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
