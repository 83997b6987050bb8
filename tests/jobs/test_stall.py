"""A run whose workers cannot start reports it, and waits until it is stopped."""

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
    notes: list[tuple[float, str]] = []

    def wait_for(number: int) -> None:
        deadline = time.monotonic() + 60  # the first note imports Ray
        while len(notes) < number:
            assert time.monotonic() < deadline, notes
            time.sleep(0.01)

    with StallNotice(0.2, lambda text: notes.append((time.monotonic(), text))) as stall:
        wait_for(1)
        stall.progressed()
        began = time.monotonic()
        wait_for(4)
    moments = [moment - began for moment, _ in notes[-3:]]
    assert all(late >= due for late, due in zip(moments, (0.2, 0.4, 0.8), strict=True))
    assert notes[0][1].startswith("nothing was committed for ")
    assert "Ray is not connected" in notes[0][1]


@pytest.mark.ray
@pytest.mark.slow
def test_workers_that_cannot_start(tmp_path: Path) -> None:
    """No node has the resource that generators ask for; the note states who waits for what."""
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
        command.end(signal.SIGTERM)
        command.wait_alone(90)
    said = command.log.read_text()
    misfit = "each generator asks for 1 of resource 'nowhere', the only node has none"
    assert f"note: {misfit}; the run waits" in said, "before the run waits, and again while it does"
    assert said.index(misfit) < said.index("nothing was committed for") < said.rindex(misfit)
    assert "stopped; the same command resumes from here" in said
    assert "nothing was committed for" in said and "CPU" in said and "label_selector" in said
    status = json.loads((tmp_path / "output" / "status.json").read_text())
    assert any("GenerateWorker pending" in note for note in status["notes"])
