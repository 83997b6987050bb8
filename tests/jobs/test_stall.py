"""A run whose workers cannot start says so, and goes on waiting until it is stopped."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from jobs.running.stall import StallNotice
from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.end_to_end.processes import running


def test_notes_come_further_and_further_apart_and_progress_begins_anew() -> None:
    notes: list[str] = []
    with StallNotice(0.2, notes.append) as stall:
        time.sleep(1.0)
        assert 1 <= len(notes) <= 3  # after 0.2, 0.4, 0.8 s, on a machine that is never late
        stall.progressed()
        before = len(notes)
        deadline = time.monotonic() + 5
        while len(notes) == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(notes) > before
    assert "nothing was committed for" in notes[0]
    assert "Ray does not answer" in notes[0]  # there is none in this process


@pytest.mark.ray
@pytest.mark.slow
def test_workers_that_cannot_start(tmp_path: Path) -> None:
    """No node has the resource that generators ask for; the note tells who waits for what."""
    job = write_job(
        tmp_path,
        catalog=write_catalog(tmp_path, write_photos(tmp_path, 1)),
        output="output",
        prompts=["a {class_name} on sand"],
        model={"base": "mini"},
        workers={"generators": {"resources": {"nowhere": 1}}},
        failures={"stall_notice_s": 5},
    )
    with running("run", job, extra={}, log=tmp_path / "log") as command:
        assert command.wait_until(lambda: "GenerateWorker pending" in command.log.read_text(), seconds=120)
        assert command.end(signal.SIGTERM) == 130, command.log.read_text()
        command.wait_alone(90)
    said = command.log.read_text()
    assert "nothing was committed for" in said and "CPU" in said and "label_selector" in said
    status = json.loads((tmp_path / "output" / "status.json").read_text())
    assert any("GenerateWorker pending" in note for note in status["notes"])
