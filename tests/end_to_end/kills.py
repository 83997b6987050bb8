"""Killing the driver of a job at random moments, and what must hold afterwards."""

from __future__ import annotations

import json
import random
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dreamcache.storage.ledger import Ledger
from tests.chaos.end_state import Images, assert_same_end
from tests.command import dreamcache
from tests.end_to_end.processes import RAY_AGENTS, Running, running
from tests.end_to_end.s3_job import S3Job
from tests.s3_server import S3Server

KILLS = 3
SEED = 20260611


def kill_and_run_again(
    job: S3Job, num_items: int, s3_server: S3Server, tmp_path: Path, kept: ExitStack
) -> None:
    """`kill -9` at three moments, each time the same command again: nothing is lost, doubled or rewritten."""
    extra = s3_server.environment()
    moments = sorted(random.Random(SEED).sample(range(1, num_items - 4), KILLS))
    commands: list[Running] = []
    committed: list[Images] = []
    for moment in moments:
        command = kept.enter_context(running("run", job.path, extra=extra, log=tmp_path / "log"))
        enough = max(moment, len(job.objects("images/")) + 1)
        reached = command.wait_until(lambda enough=enough: len(job.objects("images/")) >= enough)
        assert reached, command.log.read_text()
        assert command.end(signal.SIGKILL) == -signal.SIGKILL
        command.wait_alone(30, but=RAY_AGENTS)
        committed.append(job.objects("images/"))
        assert "manifest.json" not in job.objects()
        commands.append(command)
    assert all(len(images) < num_items for images in committed), "killed too late to show anything"

    with s3_server.use():
        recorded = len(Ledger(job.output).outcomes())
    done = dreamcache("run", job.path, "--json", extra=extra)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["generated"] == num_items - recorded

    calm = replace(job, folder=f"{job.folder}/calm")
    places = ["--set", f"output={calm.output}", "--set", f"cache={calm.folder}/cache"]
    assert dreamcache("run", job.path, *places, extra=extra).returncode == 0
    assert_same_end(job, calm, s3_server, committed=committed, exact=False)
    assert len(job.objects("images/")) == num_items
    for command in commands:
        command.wait_alone(90)
