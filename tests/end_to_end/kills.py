"""Killing the driver of a job at random moments, and what must hold afterwards."""

from __future__ import annotations

import json
import random
import signal
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from dreamcache.storage.image_store import decode_image
from dreamcache.storage.ledger import Ledger
from tests.command import dreamcache
from tests.end_to_end.processes import RAY_AGENTS, Running, running
from tests.end_to_end.s3_job import S3Job
from tests.s3_server import S3Server

KILLS = 3
SEED = 20260611
BOUND = 1  # of 255: what an image may differ by from an undisturbed run's; see test_invariance


def kill_and_run_again(
    job: S3Job, num_items: int, s3_server: S3Server, tmp_path: Path, kept: ExitStack
) -> None:
    """`kill -9` at three moments, each time the same command again: nothing is lost, doubled or rewritten."""
    extra = s3_server.environment()
    moments = sorted(random.Random(SEED).sample(range(1, num_items - 4), KILLS))
    commands: list[Running] = []
    committed: list[dict[str, object]] = []
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
    assert json.loads(done.stdout)["made"] == num_items - recorded

    final = job.objects("images/")
    for images in committed:  # ETag and LastModified of each
        assert {key: final[key] for key in images} == images
    rows = job.manifest().to_pylist()
    assert {row["key"] for row in rows} == set(final)
    assert len(rows) == len({row["item_id"] for row in rows}) == len(final) == num_items
    assert {row["status"] for row in rows} == {"done"}
    with s3_server.use():
        outcomes = Ledger(job.output).outcomes()
    assert set(outcomes) == {row["item_id"] for row in rows}
    _assert_equal_to_an_undisturbed_run(job, tmp_path, extra)
    for command in commands:
        command.wait_alone(90)


def _assert_equal_to_an_undisturbed_run(job: S3Job, tmp_path: Path, extra: dict[str, str]) -> None:
    calm = tmp_path / "calm"
    places = ["--set", f"output={calm}", "--set", f"cache={tmp_path}/calm-cache"]
    assert dreamcache("run", job.path, *places, extra=extra).returncode == 0
    expected = pq.read_table(calm / "manifest.parquet")
    manifest = job.manifest()
    for name in ("item_id", "seed", "key", "prompt", "cache_key"):
        assert manifest[name].equals(expected[name])
    for key in expected["key"].to_pylist():
        ours = decode_image(job.read(key)).astype(int)
        theirs = decode_image((calm / key).read_bytes()).astype(int)
        assert np.abs(ours - theirs).max() <= BOUND
