"""The record of runs: parts in order are one log, on both stores, whatever happens to one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dreamcache.storage.events import MOST_WAITING, EventLog, part_names, read_events, read_log

FIRST, SECOND = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else f"{request.getfixturevalue('bucket')}/out"


def test_the_events_of_two_runs_are_one_log(output: str) -> None:
    for number, begun in enumerate((FIRST, SECOND)):
        log = EventLog(output, str(number) * 16, now=begun)
        log.add("started", pid=number)
        log.line("two\nlines")
        log.flush()
        log.add("note", text="a \x1b[31mred\x1b[0m note")
        log.flush()
        log.flush()
    events = [event for _, event in read_events(output)]
    assert [(event["run"][0], event["event"]) for event in events] == [
        ("0", "started"), ("0", "note"), ("1", "started"), ("1", "note")
    ]  # fmt: skip
    assert [text.count("\n") for _, text in read_log(output)] == [2, 2]
    last = part_names(output, "jsonl")[-2]
    assert [event["event"] for _, event in read_events(output, after=last)] == ["note"]


def test_foreign_and_damaged_files_end_nothing(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), "a" * 16, now=FIRST)
    log.add("started")
    log.flush()
    (tmp_path / "events" / "notes.jsonl").write_text("{}")
    (tmp_path / "events" / f"20261103T000000Z-{'b' * 16}-00001.jsonl").write_bytes(
        b'{"at": "2026-11-03"\n[1]\n\xff\xfe\n{"at": "x", "run": "", "event": ""}\n' + b"[" * 10_000
    )
    events = [event["event"] for _, event in read_events(str(tmp_path))]
    assert events == ["started"] + 5 * ["unreadable"]


def test_a_storage_that_does_not_take_it_costs_lines_and_no_run(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    log = EventLog(str(tmp_path / "out"), "a" * 16)
    for _ in range(MOST_WAITING + 5):
        log.line("x")
    log.flush()
    (tmp_path / "out").unlink()
    log.flush()
    [(_, text)] = read_log(str(tmp_path / "out"))
    assert text.count("\n") == MOST_WAITING + 1 and "5 lines could not be written" in text


def test_calm_lines_wait_and_urgent_ones_do_not(tmp_path: Path, monkeypatch: Any) -> None:
    moment = [100.0]
    monkeypatch.setattr("dreamcache.storage.events.time.monotonic", lambda: moment[0])
    log = EventLog(str(tmp_path), "a" * 16)
    for urgent, wait, written in ((False, 10.0, 0), (True, 1.0, 1), (True, 1.0, 1), (True, 10.0, 2)):
        log.add("progress", urgent=urgent)
        moment[0] += wait
        log.flush_if_due()
        assert len(part_names(str(tmp_path), "jsonl")) == written
