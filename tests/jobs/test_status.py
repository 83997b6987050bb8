"""status.json of every kind of run, running and ended: in words, as JSON, and of folders that older versions wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.storage.status import KINDS, Kind, Status, now, parse_status, read_status, write_status
from jobs.cli.main import app
from jobs.running import claimed_run as claimed_run_module
from jobs.running import status as status_module
from jobs.running.claimed_run import claimed_run
from jobs.running.progress import RunProgress
from jobs.running.status import RunStatus
from jobs.running.status_text import detail_of

UNITS: dict[Kind, str] = {"synthesis": "parts", "training": "steps"}


def printed(*args: str) -> str:
    result = CliRunner().invoke(app, ["status", *args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def claimed() -> None:
    """The folder is free."""


def a_status(kind: Kind = "job", **changes: Any) -> Status:
    moment = now()
    status = Status(kind=kind, name="autumn", state="running", started_at=moment, updated_at=moment, total=10)
    return replace(status, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_status_of_a_run_while_it_runs_and_after_its_end(kind: Kind, tmp_path: Path) -> None:
    output, unit = str(tmp_path), UNITS.get(kind, "images")
    with claimed_run(output, kind, "autumn", claim=claimed, address="head:6379", quiet=True) as run:
        starting = json.loads(printed(output, "--json"))
        assert (starting["state"], starting["kind"], starting["address"]) == ("starting", kind, "head:6379")
        with RunProgress(run, 4, unit=unit) as progress:
            progress.add("done")
            progress.add("failed")
            progress.add("blocked")
            run.note("a worker was lost")
            run.write()
            running = json.loads(printed(output, "--json"))
            text = printed(output)
            progress.add("done")
    assert running["state"] == "running" and (running["total"], running["remaining"]) == (4, 1)
    assert running["counts"] == {"done": 1, "blocked": 1, "failed": 1}
    assert text.startswith(f"{kind} autumn: running, updated ")
    assert (
        f"{unit} 1/4" in text
        and "this run: 3 of 4" in text
        and "ETA" in text
        and "note: a worker was lost" in text
    )
    ended = json.loads(printed(output, "--json"))
    assert (ended["state"], ended["exit_reason"], ended["eta_s"]) == ("finished", None, None)
    assert ended["remaining"] == 0 and ended["notes"] == ["a worker was lost"]
    assert "finished" in printed(output) and "ETA" not in printed(output)


def test_no_eta_of_what_has_ended() -> None:
    status = a_status(counts={"done": 4}, rate=2.0, eta_s=3.0)
    assert "ETA 0:03" in detail_of(status) and status.as_dict()["eta_s"] == 3.0
    for state in ("stopped", "finished"):
        ended = replace(status, state=state)
        assert "ETA" not in detail_of(ended) and ended.as_dict()["eta_s"] is None


def test_failed_and_blocked_do_not_remain() -> None:
    status = a_status(counts={"done": 4, "failed": 2, "blocked": 1})
    assert (status.ended, status.failed, status.remaining) == (7, 3, 3)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (DreamCacheError("bucket 'b': is full; empty it"), "failed", "bucket 'b': is full; empty it"),
        (KeyboardInterrupt(), "stopped", "interrupted"),
        (ValueError(), "failed", "ValueError"),
        (ImportError("no module named 'x'"), "failed", "ImportError: no module named 'x'"),
    ],
)
def test_a_run_that_is_cut_short_states_why(
    error: BaseException, state: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), claimed_run(str(tmp_path), "synthesis", "a", claim=claimed):
        raise error
    status = read_status(str(tmp_path))
    assert status is not None and (status.state, status.exit_reason) == (state, reason)
    assert f"reason: {reason}" in printed(str(tmp_path))


def test_a_folder_of_another_is_not_touched(tmp_path: Path) -> None:
    def refuse() -> None:
        raise DreamCacheError("belongs to another")

    with (
        pytest.raises(DreamCacheError, match="another"),
        claimed_run(str(tmp_path), "job", "a", claim=refuse),
    ):
        pytest.fail("must not run")
    assert list(tmp_path.iterdir()) == []


def test_what_a_job_has_spent_outlasts_a_run_that_ends_at_once(tmp_path: Path) -> None:
    write_status(str(tmp_path), a_status(state="stopped", details={"spent": {"hours": 2.0}}))
    with pytest.raises(DreamCacheError), claimed_run(str(tmp_path), "job", "a", claim=claimed):
        raise DreamCacheError("nothing ran")
    status = read_status(str(tmp_path))
    assert status is not None and status.details["spent"] == {"hours": 2.0}


TIME = "2026-11-01T10:00:00+00:00"
RUN = {"done": 3, "blocked": 1, "failed": 1, "left": 5, "total": 10, "eta_s": 9.0, "images_per_s": 0.5}
OLD: dict[str, tuple[dict[str, Any], Callable[[Status], bool]]] = {
    "job": (
        {
            "job": "a",
            "state": "running",
            "this_run": RUN,
            "updated_at": TIME,
            "spent": {"hours": 1},
            "notes": ["n"],
        },
        lambda s: (s.kind, s.remaining, s.failed, s.details["spent"]) == ("job", 5, 2, {"hours": 1}),
    ),
    "evaluation": (
        {"job": "a", "kind": "evaluation", "state": "finished", "this_run": RUN, "updated_at": TIME},
        lambda s: s.kind == "evaluation" and s.total == 10,
    ),
    "running synthesis": (
        {
            "job": "a",
            "kind": "synthesis",
            "state": "running",
            "stage": "masks",
            "this_run": RUN,
            "updated_at": TIME,
        },
        lambda s: s.stage == "masks" and s.unit == "parts",
    ),
    "finished synthesis": (
        {"job": "a", "kind": "synthesis", "state": "finished", "counts": {"train": 3}, "updated_at": TIME},
        lambda s: s.total == 0 and s.details["counts"] == {"train": 3},
    ),
    "training": (
        {
            "job": "a",
            "kind": "training",
            "state": "stopped",
            "step": 4,
            "steps": 9,
            "loss": 0.5,
            "images_per_s": 1.0,
            "eta_s": 5.0,
            "message": "interrupted",
            "updated_at": TIME,
        },
        lambda s: (
            (s.counts, s.total, s.exit_reason, s.details["loss"]) == ({"done": 4}, 9, "interrupted", 0.5)
        ),
    ),
}


@pytest.mark.parametrize("shape", OLD)
def test_a_status_of_an_older_version_is_read_and_printed(shape: str, tmp_path: Path) -> None:
    value, is_right = OLD[shape]
    (tmp_path / "status.json").write_text(json.dumps(value))
    status = read_status(str(tmp_path))
    assert status is not None and status.name == "a" and is_right(status), status
    assert printed(str(tmp_path)).startswith(f"{status.kind} a: {status.state}")
    assert parse_status(status.as_dict()).as_dict() == status.as_dict()


@pytest.mark.parametrize("text", ['{"format": 4}', "[]", "{}", "no JSON", '{"job": "a", "state": "lost"}'])
def test_what_is_no_status_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(
        StorageError, match=r"status\.json: must be the status of a run in format 1 to 3, .*delete it"
    ) as e:
        read_status(str(tmp_path))
    assert e.value.code == "bad_status" and "\n" not in str(e.value)


@pytest.mark.parametrize("action", ["tick", "beat"])
def test_a_sign_of_life_that_fails_does_not_end_the_heartbeat(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    whole = getattr(RunStatus, action)

    def failing(run: RunStatus) -> None:
        calls.append(len(calls))
        if len(calls) <= 3:
            raise RuntimeError(f"gauge {min(len(calls), 2)} is gone")
        whole(run)

    monkeypatch.setattr(RunStatus, action, failing)
    monkeypatch.setattr(claimed_run_module, "BEAT_CHECK_S", 0.01)
    monkeypatch.setattr(status_module, "HEARTBEAT_S", 0.01)
    with claimed_run(str(tmp_path), "job", "autumn", claim=claimed, quiet=True) as run:
        before = run.current.heartbeat_at

        def beats() -> bool:
            written = read_status(str(tmp_path))
            return len(calls) > 6 and written is not None and written.heartbeat_at != before

        wait_until(beats)
    faults = [note for note in run.current.notes if "sign of life" in note]
    assert [fault.rpartition("RuntimeError: ")[2] for fault in faults] == [
        "gauge 1 is gone",
        "gauge 2 is gone",
    ]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
