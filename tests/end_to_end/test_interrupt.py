"""Ctrl-C: the command ends in order and says how to go on. What kills it outright is in tests/chaos."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.end_to_end.processes import running
from tests.end_to_end.s3_job import S3Job, make_s3_job
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SUBJECTS = 10


@pytest.fixture
def job(s3_server: S3Server, tmp_path: Path, tiny_model: dict[str, str]) -> S3Job:
    folder = f"{s3_server.make_bucket('kill')}/{tmp_path.name}"
    slow = {"num_inference_steps": 12}  # so that a moment between two commits can be met
    return make_s3_job(s3_server, tmp_path, folder, tiny_model, subjects=SUBJECTS, generation=slow)


def test_an_interrupt_says_how_to_go_on(job: S3Job, s3_server: S3Server, tmp_path: Path) -> None:
    with running("run", job.path, extra=s3_server.environment(), log=tmp_path / "log") as command:
        assert command.wait_until(lambda: bool(job.objects("images/")))
        assert command.end(signal.SIGINT) == 130, command.log.read_text()
        command.wait_alone(90)
        said = command.log.read_text()
    assert said.splitlines()[-1] == "stopped; the same command resumes from here"
    assert "Traceback" not in said
    assert json.loads(job.read("status.json"))["state"] == "stopped"
