"""Submitting to a cluster that was started with `ray start` and asks for a token: the life of a job by its commands.

The package comes from a wheel, the commands run away from the repository; catalog, cache and output are on the S3
server.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.cluster.observe import JOB_ID
from tests.end_to_end.s3_job import PROMPTS, S3Job, make_s3_job
from tests.installed import build_wheel, make_environment, outside
from tests.ray_head import RayHead
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module")]

SUBJECTS = 2
ITEMS = SUBJECTS * len(PROMPTS)
MINI = {"base": "mini"}
SECONDS = 200


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody with the wheel installed, at `folder`, and these variables."""

    python: Path
    folder: Path
    env: dict[str, str]

    def __call__(self, *args: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python.parent / "dreamcache"), *args]
        env = {name: value for name, value in {**self.env, **changes}.items() if value}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env=env, cwd=self.folder
        )

    def json(self, *args: str, code: int = 0) -> Any:
        done = self(*args, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture(scope="module")
def head(s3_server: S3Server, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    home = tmp_path_factory.mktemp("head-home")
    with RayHead(env=outside(s3_server.environment(), home), python=python) as started:
        yield started


@pytest.fixture
def user(head: RayHead, python: Path, s3_server: S3Server, tmp_path: Path) -> User:
    env = outside({**s3_server.environment(), **head.access(), "RAY_ADDRESS": head.url}, tmp_path)
    return User(python=python, folder=tmp_path, env=env)


def make_job(s3_server: S3Server, tmp_path: Path, **changes: Any) -> S3Job:
    folder = f"{s3_server.make_bucket('submit')}/{tmp_path.name}/shop"
    (tmp_path / "job").mkdir()
    return make_s3_job(s3_server, tmp_path / "job", folder, MINI, subjects=SUBJECTS, **changes)


def wait_until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, "not reached"
        time.sleep(0.1)


def test_a_job_is_submitted_watched_and_done(user: User, s3_server: S3Server, tmp_path: Path) -> None:
    assert str(user.python.parent.parent) in _where_from(user)
    job = make_job(s3_server, tmp_path)
    made = user.json("submit", job.path)
    assert JOB_ID.fullmatch(made["job_id"]) and made["submission_id"] == made["job_id"]
    assert (made["state"], made["items"], made["output"]) == ("submitted", ITEMS, job.output)
    again = user.json("submit", job.path)
    assert (again["state"], again["submission_id"]) == ("running", made["submission_id"])

    followed = user("logs", "-f", made["job_id"])
    assert followed.returncode == 0, followed.stderr
    assert f"images {ITEMS}/{ITEMS}" in followed.stdout and "manifest: " in followed.stdout
    assert user("logs", made["job_id"]).stdout == followed.stdout
    away = user("logs", job.path, RAY_ADDRESS="http://127.0.0.1:9")
    assert f"images {ITEMS}/{ITEMS}" in away.stdout, "the output's own record needs no cluster"
    status = user.json("status", made["job_id"])
    assert (status["state"], status["cluster"]["state"], status["cluster"]["exit_code"]) == (
        "finished",
        "succeeded",
        0,
    )
    assert status["manifest"]["counts"]["done"] == job.manifest().num_rows == ITEMS
    [row] = [row for row in user.json("list") if row["job_id"] == made["job_id"]]
    assert (row["state"], row["done"], row["remaining"], row["attempts"]) == ("succeeded", ITEMS, 0, 1)

    assert user.json("submit", job.path)["state"] == "done"
    assert "has ended" not in user("stop", made["job_id"]).stderr
    root = f"{s3_server.make_bucket('submit')}/{tmp_path.name}/shop"
    away = user("list", "--output-root", root, "--json", RAY_ADDRESS="http://127.0.0.1:9")
    assert away.returncode == 0, away.stderr
    [row] = json.loads(away.stdout)
    assert (row["output"], row["state"], row["done"]) == (job.output, "finished", ITEMS)


def test_a_stopped_job_is_valid_and_resumes(user: User, s3_server: S3Server, tmp_path: Path) -> None:
    """After SIGTERM the folder records that it was stopped; the next attempt generates the rest only."""
    job = make_job(s3_server, tmp_path, generation={"num_inference_steps": 60}, workers={"batch_size": 1})
    made = user.json("submit", job.path)
    wait_until(lambda: job.objects("images/"))
    started = time.monotonic()
    stopped = user.json("stop", job.path)
    assert stopped["state"] == "stopped"
    assert time.monotonic() - started < 60
    status = user.json("status", made["job_id"])
    assert status["cluster"]["state"] == "stopped"
    assert status["state"] == "stopped"
    kept = job.objects("images/")
    assert 0 < len(kept) < ITEMS
    done = user("submit", "-f", job.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{made['job_id']}-2: submitted, attempt 2" in done.stdout
    assert {key: value for key, value in job.objects("images/").items() if key in kept} == kept
    assert job.manifest()["status"].to_pylist() == ["done"] * ITEMS
    [row] = [row for row in user.json("list") if row["job_id"] == made["job_id"]]
    assert (row["submission_id"], row["attempts"]) == (f"{made['job_id']}-2", 2)


def test_exit_codes_are_carried_over_and_failures_are_tried_again(
    user: User, s3_server: S3Server, tmp_path: Path
) -> None:
    job = make_job(s3_server, tmp_path, prompts=["a {colour} {class_name}"])
    done = user("submit", "-f", job.path)
    assert done.returncode == 3, done.stdout + done.stderr
    [row] = [row for row in user.json("list") if row["output"] == job.output]
    assert (row["state"], row["exit_code"], row["failed"]) == ("with_failures", 3, SUBJECTS)
    assert user("submit", "-f", "--retry", job.path).returncode == 3
    assert job.manifest()["attempts"].to_pylist() == [2] * SUBJECTS


def test_the_token_is_asked_for(user: User, head: RayHead, s3_server: S3Server, tmp_path: Path) -> None:
    job = make_job(s3_server, tmp_path)
    wrong = user("list", RAY_AUTH_TOKEN="0" * 64)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (1, 1)
    assert "the cluster refuses this token" in wrong.stderr
    for mode in ("", "token"):
        none = user("submit", job.path, RAY_AUTH_TOKEN="", RAY_AUTH_MODE=mode)
        assert (none.returncode, len(none.stderr.splitlines())) == (1, 1), none.stderr
        assert "asks for a token and none is set" in none.stderr
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(str(head.token))
    assert user("list", RAY_AUTH_TOKEN="", RAY_AUTH_MODE="").returncode == 0


def test_run_joins_the_cluster_with_the_token(
    user: User, head: RayHead, s3_server: S3Server, tmp_path: Path
) -> None:
    job = make_job(s3_server, tmp_path, prompts=PROMPTS[:1])
    refused = user("run", job.path, "--address", head.gcs, RAY_AUTH_TOKEN="", RAY_ADDRESS="")
    assert refused.returncode == 1
    assert "error: Ray at" in refused.stderr and "must be in RAY_AUTH_TOKEN" in refused.stderr
    assert f"error: address '{head.url}': is a dashboard's" in user("run", job.path).stderr
    done = user("run", job.path, "--address", head.gcs, "--json", RAY_ADDRESS="")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == SUBJECTS


def test_code_is_sent_to_a_cluster_that_has_none(
    wheel: Path, python: Path, s3_server: S3Server, tmp_path: Path
) -> None:
    bare = make_environment(tmp_path / "bare", None)
    job = make_job(s3_server, tmp_path, prompts=PROMPTS[:1])
    with RayHead(env=outside(s3_server.environment(), tmp_path), python=bare) as head:
        env = outside({**s3_server.environment(), **head.access(), "RAY_ADDRESS": head.url}, tmp_path)
        user = User(python=python, folder=tmp_path, env=env)
        lacking = user("submit", "-f", job.path, "--python", str(bare))
        assert lacking.returncode == 1
        assert "has no module 'dreamcache'" in lacking.stdout
        sent = user("submit", "-f", job.path, "--python", str(bare), "--code", "ship")
        assert sent.returncode == 0, sent.stdout + sent.stderr
    assert job.manifest()["status"].to_pylist() == ["done"] * SUBJECTS


def _where_from(user: User) -> str:
    code = "import jobs; print(jobs.__file__)"
    return subprocess.run(
        [str(user.python), "-c", code],
        capture_output=True,
        text=True,
        env=user.env,
        cwd=user.folder,
        check=True,
    ).stdout
