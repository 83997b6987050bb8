"""An operator's day: start, kill -9, look, resume, stop, change, prune, retry.

After each step `status` and `list` agree with a count that is made from the objects in the store, and so does the
manifest where a run has ended.
"""

from __future__ import annotations

import csv
import io
import json
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command import dreamcache
from tests.end_to_end.photos import picture, write_photos
from tests.end_to_end.processes import RAY_AGENTS, running
from tests.end_to_end.s3_job import S3Job, upload_job
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]

RANK = {"failed": 0, "blocked": 1, "done": 2}
PROMPTS = ["a {class_name} on sand", "a {class_name} in snow"]
SUBJECTS = 6


@dataclass(frozen=True)
class Day:
    """The job, and what an operator can see of it."""

    job: S3Job
    server: S3Server
    root: str

    def command(self, *args: str) -> Any:
        return dreamcache(*args, extra=self.server.environment())

    def json(self, *args: str) -> Any:
        done = self.command(*args, "--json")
        assert done.returncode in (0, 3), done.stderr
        return json.loads(done.stdout)

    def tables(self, prefix: str) -> pa.Table:
        keys = [key for key in self.job.objects(prefix) if key.endswith(".parquet")]
        tables = [pq.read_table(pa.BufferReader(self.job.read(key))) for key in keys]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({"item_id": []})

    def counted(self) -> dict[str, int]:
        """Planned items by how they ended, from plan parts, ledger parts and images alone."""
        planned = set(self.tables("plan/part-")["item_id"].to_pylist())
        best: dict[str, str] = {}
        for row in self.tables("ledger/part-").to_pylist():
            before = best.get(row["item_id"])
            if before is None or RANK[row["status"]] > RANK[before]:
                best[row["item_id"]] = row["status"]
        images = {Path(key).stem for key in self.job.objects("images/")}
        done = {item for item, status in best.items() if status == "done" and item in images}
        counts = Counter(best[item] for item in planned & set(best) if best[item] != "done" or item in done)
        return {
            "total": len(planned),
            "done": len(planned & done),
            "failed": counts["failed"] + counts["blocked"],
            "remaining": len(planned) - len(planned & done) - counts["failed"] - counts["blocked"],
        }

    def check(self, state: str, *, manifest: bool) -> dict[str, int]:
        """`status`, `list` and, where a run has ended, the manifest are the count by hand."""
        wanted = self.counted()
        status = self.json("status", self.job.path)
        counts = status["counts"]
        shown = {
            "total": status["total"],
            "done": counts["done"],
            "failed": counts["failed"] + counts["blocked"],
        }
        assert status["state"] == state, status
        assert {**shown, "remaining": status["remaining"]} == wanted, status
        assert status["eta_s"] is None
        [row] = self.json("list", "--output-root", self.root)
        assert {name: row[name] for name in wanted} == wanted and row["state"] == state, row
        text = self.command("status", self.job.path).stdout
        assert f"images {wanted['done']}/{wanted['total']}" in text and "ETA" not in text
        if manifest:
            statuses = Counter(self.job.manifest()["status"].to_pylist())
            assert statuses["done"] == wanted["done"] and sum(statuses.values()) == wanted["total"]
        return wanted

    def change(self, **values: Any) -> None:
        path = Path(self.job.path)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


@pytest.fixture
def day(s3_server: S3Server, tmp_path: Path, tiny_model: dict[str, str]) -> Day:
    root = f"{s3_server.make_bucket('operator')}/{tmp_path.name}"
    rows = write_photos(tmp_path, SUBJECTS)
    job = upload_job(
        s3_server,
        tmp_path,
        f"{root}/shop",
        rows,
        model=tiny_model,
        prompts=PROMPTS,
        workers={"batch_size": 2},
        generation={"num_inference_steps": 12},
    )
    return Day(job=job, server=s3_server, root=f"{root}/shop")


def test_an_operators_day(day: Day, tmp_path: Path) -> None:
    job, extra = day.job, day.server.environment()
    with running("run", job.path, extra=extra, log=tmp_path / "log") as command:
        assert command.wait_until(lambda: len(job.objects("images/")) >= 2), command.log.read_text()
        assert command.end(signal.SIGKILL) == -signal.SIGKILL
        command.wait_alone(60, but=RAY_AGENTS)
    killed = day.check("lost", manifest=False)
    assert 0 < killed["remaining"] < killed["total"] == 2 * SUBJECTS
    status = day.json("status", job.path)
    assert "is gone" in status["exit_reason"] and status["recorded_state"] == "running"

    with running("run", job.path, extra=extra, log=tmp_path / "log") as command:
        more = len(job.objects("images/")) + 2
        assert command.wait_until(lambda: len(job.objects("images/")) >= more), command.log.read_text()
        assert command.end(signal.SIGTERM) == 130, command.log.read_text()
        command.wait_alone(90)
    stopped = day.check("stopped", manifest=True)
    assert killed["done"] <= stopped["done"] <= len(job.objects("images/"))

    _resume_change_and_retry(day, tmp_path)
    _read_the_record(day, tmp_path)


def _resume_change_and_retry(day: Day, tmp_path: Path) -> None:
    job = day.job
    assert day.command("run", job.path, "--quiet").returncode == 0
    assert day.check("finished", manifest=True)["done"] == 2 * SUBJECTS
    again = day.json("run", job.path)
    assert again["generated"] == 0
    assert day.check("finished", manifest=True)["done"] == 2 * SUBJECTS, "a run without work shows the plan"

    _break_photo(day, "p0.png")
    day.change(prompts=[PROMPTS[0], "a {class_name} at night"])
    ran = day.command("run", job.path, "--prune", "--quiet")
    assert ran.returncode == 3, ran.stderr
    changed = day.check("finished", manifest=True)
    assert (changed["done"], changed["failed"]) == (2 * (SUBJECTS - 1), 2)
    # Orphans of the five good subjects are gone, those of the subject without a photo stay.
    planned_done = changed["done"]
    assert len(job.objects("images/")) == planned_done + 2
    assert any("stay" in note for note in day.json("status", job.path)["notes"])

    _write_photo(day, tmp_path, "p0.png")
    assert day.command("retry", job.path, "--quiet").returncode == 0
    assert day.check("finished", manifest=True)["done"] == 2 * SUBJECTS
    assert day.json("run", job.path, "--prune")["pruned"] == 1, (
        "of the photo's old images one is planned again"
    )
    assert len(job.objects("images/")) == 2 * SUBJECTS
    failed = csv.DictReader(io.StringIO(job.read("failed.csv").decode()))
    assert list(failed) == []


def _read_the_record(day: Day, tmp_path: Path) -> None:
    job = day.job
    events = Counter(event["event"] for event in day.json("logs", job.path))
    assert events["started"] == 7 and events["finished"] == 5 and events["stopped"] == 1
    assert events["planning_failed"] == 1 and events["worker_ready"] >= 4
    log = day.command("logs", job.path).stdout
    assert log.count("started, process") == 7
    assert day.command("status", job.path, "--timeline", str(tmp_path / "t.svg")).returncode == 0
    assert (tmp_path / "t.svg").read_text().count(" UTC  ") == 7


def _break_photo(day: Day, name: str) -> None:
    bucket, _, prefix = day.job.folder.removeprefix("s3://").partition("/")
    day.job.client.delete_object(Bucket=bucket, Key=f"{prefix}/{name}")


def _write_photo(day: Day, folder: Path, name: str) -> None:
    bucket, _, prefix = day.job.folder.removeprefix("s3://").partition("/")
    picture(0).save(folder / name)
    day.job.client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=(folder / name).read_bytes())
