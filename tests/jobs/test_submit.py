"""Submission without a cluster: ids, addresses, tokens, what is refused, what the entry script says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dreamcache as package
from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import SpecError
from jobs.cli.main import main
from jobs.cluster import entry as cluster_entry
from jobs.cluster.jobs_api import ClusterError, JobsApi, auth_headers, connect, resolve
from jobs.cluster.observe import JOB_ID
from jobs.cluster.submitter import (
    SubmitSettings,
    _check_guarded,
    _check_paths,
    _entrypoint,
    _environment,
    job_id_of,
    secrets_in,
)
from tests.command import write_job
from tests.s3_server import free_ports

URL = "http://127.0.0.1:8265"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "RAY_ADDRESS",
        "RAY_API_SERVER_ADDRESS",
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_AUTH_TOKEN_PATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RAY_JOB_HEADERS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def spec_of(**values: Any) -> JobSpec:
    return JobSpec(**{"name": "autumn", "catalog": "s3://b/c.csv", "output": "s3://b/out", **values})


def test_the_same_work_into_the_same_output_has_the_same_id() -> None:
    first = job_id_of(spec_of(), "f" * 64)
    assert JOB_ID.fullmatch(first) and first.startswith("dreamcache-autumn-")
    assert first == job_id_of(spec_of(output="s3://b/out/", samples=3), "f" * 64)
    others = [job_id_of(spec_of(), "e" * 64), job_id_of(spec_of(output="s3://b/two"), "f" * 64)]
    assert len({first, *others}) == 3


@pytest.mark.parametrize(
    ("text", "job_id", "number"),
    [
        ("dreamcache-a-0123456789ab", "dreamcache-a-0123456789ab", None),
        ("dreamcache-a-2-0123456789ab-3", "dreamcache-a-2-0123456789ab", "3"),
        ("dreamcache-a-0123456789ab-12", "dreamcache-a-0123456789ab", "12"),
    ],
)
def test_the_job_of_an_attempt(text: str, job_id: str, number: str | None) -> None:
    found = JOB_ID.fullmatch(text)
    assert found and found.groups() == (job_id, number)


@pytest.mark.parametrize(
    "text", ["raysubmit_x", "dreamcache-a-0123456789ab-1", "dreamcache-0123456789ab", "output"]
)
def test_other_names_are_no_ids(text: str) -> None:
    assert JOB_ID.fullmatch(text) is None


@pytest.mark.parametrize(
    ("given", "variables", "url"),
    [
        (None, {}, URL),
        ("auto", {"RAY_ADDRESS": "http://head:8265"}, URL),
        ("https://ray.shop/", {"RAY_ADDRESS": "http://head:8265"}, "https://ray.shop"),
        (None, {"RAY_ADDRESS": "http://head:1234/"}, "http://head:1234"),
        (None, {"RAY_ADDRESS": "http://a:1", "RAY_API_SERVER_ADDRESS": "http://b:2"}, "http://b:2"),
        (None, {"RAY_ADDRESS": "10.0.0.7:6379"}, "http://10.0.0.7:8265"),
        (None, {"RAY_ADDRESS": "ray://head:10001"}, "http://head:8265"),
        (None, {"RAY_ADDRESS": "auto"}, URL),
    ],
)
def test_addresses(
    given: str | None, variables: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve(given) == url


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "head"])
def test_an_address_that_is_no_url_is_refused(address: str) -> None:
    with pytest.raises(SpecError, match=r"such as http://head:8265"):
        resolve(address)


def test_tokens_are_found_where_ray_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert auth_headers() == {}
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    assert auth_headers() == {"Authorization": "Bearer home"}
    (tmp_path / "named").write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "named"))
    assert auth_headers() == {"Authorization": "Bearer named"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert auth_headers() == {"Authorization": "Bearer given"}
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"X-Proxy": "1"}')
    assert auth_headers() == {"Authorization": "Bearer given", "X-Proxy": "1"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert auth_headers() == {"X-Proxy": "1"}


def test_a_token_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ClusterError, match="none is set; set RAY_AUTH_TOKEN"):
        auth_headers()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(
        ClusterError, match=r"RAY_AUTH_TOKEN_PATH '.*/none': must be a readable file"
    ) as raised:
        auth_headers()
    assert raised.value.code == "no_token"


def test_nobody_there_is_one_line() -> None:
    [port] = free_ports(1)
    with pytest.raises(ClusterError, match="no Ray cluster answers there") as raised:
        connect(f"http://127.0.0.1:{port}")
    assert raised.value.code == "no_cluster"


def test_local_paths_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    _check_paths(spec_of(), URL)
    spec = spec_of(catalog="/home/me/c.csv", cache="file:///x", model={"base": str(tmp_path / "base")})
    spec = JobSpec(name="a", catalog="/home/me/c.csv", output="s3://b/o", cache="file:///x")
    with pytest.raises(
        SpecError, match=r"^catalog '/home/me/c.csv', cache 'file:///x': must be locations"
    ) as raised:
        _check_paths(spec, URL)
    assert raised.value.code == "local_paths"


def test_models_of_segmenters_and_of_the_gate_are_local_paths_too(tmp_path: Path) -> None:
    for name in ("sam", "clip"):
        (tmp_path / name).mkdir()
    metrics = MetricSettings(
        clip=str(tmp_path / "clip"), dino=None, segmenter_models={"sam": str(tmp_path / "sam")}
    )
    spec = JobSpec(
        name="a",
        catalog="s3://b/c.csv",
        output="s3://b/o",
        reference=EncodeSettings(
            segmenter_models={"sam": "owner/sam@1", "grounding-dino": str(tmp_path / "sam")}
        ),
        quality=QualitySettings(min_text=0.1, metrics=metrics),
    )
    with pytest.raises(SpecError) as raised:
        _check_paths(spec, URL)
    keys = re.findall(r"([\w.-]+) '", str(raised.value))
    assert keys == [
        "reference.segmenter_models.grounding-dino",
        "quality.metrics.clip",
        "quality.metrics.segmenter_models.sam",
    ]


def test_variables_go_along_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    stop = {"RAY_JOB_STOP_SIGNAL": "SIGTERM", "RAY_JOB_STOP_WAIT_TIME_S": "120"}
    assert _environment(SubmitSettings()) == stop
    asked = _environment(SubmitSettings(env=("AWS_REGION", "A=b=c", "EMPTY="), grace_s=0.5))
    assert asked == {
        **stop,
        "RAY_JOB_STOP_WAIT_TIME_S": "1",
        "AWS_REGION": "eu-west-1",
        "A": "b=c",
        "EMPTY": "",
    }
    for bad in ("NOT_SET_ANYWHERE", "a b=1", "=1"):
        with pytest.raises(SpecError, match="env '"):
            _environment(SubmitSettings(env=(bad,)))
    assert secrets_in(["AWS_REGION", "AWS_SECRET_ACCESS_KEY=x", "HF_TOKEN"]) == [
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
    ]


def test_the_command_on_the_cluster() -> None:
    version = package.__version__
    start = f"dreamcache_entry.py {version}"
    assert _entrypoint(SubmitSettings(), False) == f"exec python {start} run job.yaml --address auto"
    assert _entrypoint(SubmitSettings(gallery=False), True) == (
        f"exec {sys.executable} {start} run --no-gallery job.yaml --address auto"
    )
    again = SubmitSettings(retry=("nan_image",), python="/opt/my env/python")
    assert _entrypoint(again, True) == (
        f"exec '/opt/my env/python' {start} retry --reason nan_image job.yaml --address auto"
    )


def test_an_open_cluster_on_another_machine_is_refused() -> None:
    def api(url: str, is_open: bool) -> JobsApi:
        return JobsApi(url=url, client=None, headers={}, is_open=is_open)

    with pytest.raises(SpecError, match="asks for no token") as raised:
        _check_guarded(api("http://head:8265", True), False)
    assert raised.value.code == "open_cluster"
    _check_guarded(api("http://head:8265", True), True)
    _check_guarded(api("http://head:8265", False), False)
    _check_guarded(api("https://head", True), False)
    _check_guarded(api(URL, True), False)


def test_the_entry_script_says_what_the_cluster_lacks(tmp_path: Path) -> None:
    """Run as it is sent: a file beside the job file, by a Python that sees nothing of ours but what is put there."""
    entry = shutil.copy(str(cluster_entry.__file__), tmp_path / "dreamcache_entry.py")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", str(entry), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={})

    lacking = run("0.1.0", "run", "job.yaml")
    assert lacking.returncode == 1
    assert "has no module 'dreamcache'" in lacking.stderr and "--code ship" in lacking.stderr
    for name, text in {"dreamcache": "__version__ = '0.0.9'", "jobs": "", "jobs/cli": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "jobs/cli/main.py").write_text(
        "import sys\ndef main():\n    print(sys.argv)\n    sys.exit(3)\n"
    )
    other = run("0.1.0", "run", "job.yaml")
    assert other.returncode == 1
    assert "has dreamcache 0.0.9, the job was submitted by 0.1.0" in other.stderr
    same = run("0.0.9", "run", "job.yaml")
    assert (same.returncode, same.stdout) == (3, "['dreamcache', 'run', 'job.yaml']\n")


def test_the_verbs_without_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dreamcache", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    [port] = free_ports(1)
    away = f"http://127.0.0.1:{port}"
    job = write_job(tmp_path / "job", catalog="c.csv", output="o", prompts=["x"])
    for verb in (
        ["submit", job],
        ["list"],
        ["logs", job],
        ["stop", job],
        ["status", "dreamcache-a-0123456789ab"],
    ):
        code, out, err = run(*verb, "--address", away)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert f"error: {away}: no Ray cluster answers there" in err
    assert run("submit", job, "--address", "head:6379")[0] == 2
    assert "No secrets" in run("submit", "--help")[1]
    monkeypatch.setenv("RAY_ADDRESS", away)
    code, out, err = run("list", "--output-root", str(tmp_path), "--json")
    assert (code, out) == (0, "[]\n") and "no cluster was reached" in err
    now = {"done": 1, "blocked": 0, "failed": 0, "left": 0, "total": 1, "eta_s": None, "images_per_s": 0}
    (tmp_path / "job" / "o").mkdir()
    status = {"job": "job", "state": "finished", "this_run": now, "updated_at": "2026-11-01T10:00:00+00:00"}
    (tmp_path / "job" / "o" / "status.json").write_text(json.dumps(status))
    code, out, err = run("status", job, "--address", away)
    assert (code, "finished" in out) == (0, True) and "the cluster does not know its state" in err
