"""A driver that is killed at random moments, and the same command again: nothing lost, doubled or made again."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.kills import kill_and_run_again
from tests.end_to_end.processes import running
from tests.end_to_end.s3_job import PROMPTS, S3Job, make_s3_job
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

SUBJECTS = 10
ITEMS = SUBJECTS * len(PROMPTS)


@pytest.fixture
def job(s3_server: S3Server, tmp_path: Path, tiny_model: dict[str, str]) -> S3Job:
    folder = f"{s3_server.make_bucket('kill')}/{tmp_path.name}"
    slow = {"num_inference_steps": 12}  # so that a moment between two commits can be met
    return make_s3_job(s3_server, tmp_path, folder, tiny_model, subjects=SUBJECTS, generation=slow)


@pytest.fixture
def kept() -> Iterator[ExitStack]:
    """Commands whose last processes are looked for at the test's end."""
    with ExitStack() as stack:
        yield stack


def test_kill_9_of_the_driver_at_random_moments(
    job: S3Job, s3_server: S3Server, tmp_path: Path, kept: ExitStack
) -> None:
    kill_and_run_again(job, ITEMS, s3_server, tmp_path, kept)


def test_an_interrupt_says_how_to_go_on(job: S3Job, s3_server: S3Server, tmp_path: Path) -> None:
    with running("run", job.path, extra=s3_server.environment(), log=tmp_path / "log") as command:
        assert command.wait_until(lambda: bool(job.objects("images/")))
        assert command.end(signal.SIGINT) == 130, command.log.read_text()
        command.wait_alone(90)
        said = command.log.read_text()
    assert said.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in said
    assert json.loads(job.read("status.json"))["state"] == "stopped"
