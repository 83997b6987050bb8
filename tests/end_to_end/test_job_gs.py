"""The main job with catalog, cache and output at gs://: killed once, resumed, counted, and read by the commands.

fake-gcs-server speaks the protocol, and honours generation preconditions; the real service was not tried.
"""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamcache.storage.open_store import BoundStore, open_store
from dreamcache.storage.store import ObjectInfo
from jobs import outputs
from tests.cloud_servers import GcsServer
from tests.command import dreamcache, write_job
from tests.end_to_end.photos import write_photos
from tests.end_to_end.processes import RAY_AGENTS, running
from tests.gs_server import gs_server, leading_to

__all__ = ["gs_server"]
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module")]

SUBJECTS, PROMPTS = 4, ("a {class_name} on sand", "a {class_name} in snow", "a {class_name} on a table")
ITEMS = SUBJECTS * len(PROMPTS)
FOLDER = "gs://shop/autumn"


@pytest.fixture(scope="module")
def store(gs_server: GcsServer) -> Iterator[BoundStore]:
    with leading_to(gs_server.environment()):
        yield open_store(f"{FOLDER}/output")


@pytest.fixture(scope="module")
def job(gs_server: GcsServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    local = tmp_path_factory.mktemp("job-gs")
    rows = write_photos(local, SUBJECTS)
    for row in rows:
        gs_server.put("shop", f"autumn/{row['image']}", (local / row["image"]).read_bytes())
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    gs_server.put("shop", "autumn/catalog.csv", text.getvalue().encode())
    pool = {"count": 1, "cpus": 0.5}
    return write_job(
        local,
        catalog=f"{FOLDER}/catalog.csv",
        output=f"{FOLDER}/output",
        cache=f"{FOLDER}/cache",
        prompts=list(PROMPTS),
        model={"base": "mini"},
        workers={"batch_size": 1, "generators": pool, "encoders": {"cpus": 0.25}},
    )


def images(store: BoundStore) -> dict[str, ObjectInfo]:
    return {store.key_of(info.uri): info for info in store.list("images")}


def test_a_killed_job_resumes_and_nothing_is_rewritten(
    gs_server: GcsServer, store: BoundStore, job: str, tmp_path: Path
) -> None:
    extra = gs_server.environment()
    with running("run", job, extra=extra, log=tmp_path / "log") as command:
        reached = command.wait_until(lambda: len(images(store)) >= 3, every=0.2)
        assert reached, command.log.read_text()
        assert command.end(signal.SIGKILL) == -signal.SIGKILL
        command.wait_alone(60, but=RAY_AGENTS)
    committed = images(store)
    assert 3 <= len(committed) < ITEMS, "killed too late to show anything"

    done = dreamcache("run", job, "--json", extra=extra)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["done"], report["failed"]) == (ITEMS, 0)
    assert ITEMS - len(committed) <= report["generated"] < ITEMS
    after = images(store)
    assert len(after) == ITEMS
    assert {key: after[key].etag for key in committed} == {key: info.etag for key, info in committed.items()}
    table = outputs(f"{FOLDER}/output")
    assert sorted(table["key"].to_pylist()) == sorted(after)
    assert {key: after[key].num_bytes for key in after} == dict(
        zip(table["key"].to_pylist(), table["num_bytes"].to_pylist(), strict=True)
    )


def test_the_commands_answer_from_the_bucket(
    gs_server: GcsServer, store: BoundStore, job: str, tmp_path: Path
) -> None:
    extra = gs_server.environment()
    status = json.loads(dreamcache("status", f"{FOLDER}/output", "--json", extra=extra).stdout)
    assert (status["state"], status["details"]["plan_counts"]["done"]) == ("finished", ITEMS)
    listed = json.loads(dreamcache("list", "--output-root", FOLDER, "--json", extra=extra).stdout)
    assert [row["output"] for row in listed] == [f"{FOLDER}/output"]
    assert dreamcache("logs", f"{FOLDER}/output", "--events", extra=extra).returncode == 0
    assert dreamcache("gallery", f"{FOLDER}/output", extra=extra).returncode == 0
    assert b"<html" in store.read("gallery/index.html")
    target = tmp_path / "exported"
    assert dreamcache("export", f"{FOLDER}/output", str(target), extra=extra).returncode == 0
    assert len([path for path in target.rglob("*") if path.suffix == ".png"]) == ITEMS
    checked = dreamcache("doctor", job, "--json", extra=extra)
    assert '"no_conditional_writes"' not in checked.stdout and "compare and swap" in checked.stdout


def test_prune_deletes_what_is_planned_no_more(gs_server: GcsServer, store: BoundStore, job: str) -> None:
    fewer = ["--set", f"prompts=[{PROMPTS[0]!r}]", "--prune", "--json"]
    done = dreamcache("run", job, *fewer, extra=gs_server.environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["generated"] == 0
    assert len(images(store)) == SUBJECTS
