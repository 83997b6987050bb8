"""The GPU measurements: what a job's events say, a section that is stopped, and the command with few channels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.speed import gpu
from recipes.speed.gpu_job import DeviceUse, rates, samples_of


def test_together_the_sections_end_under_ten_minutes() -> None:
    stops = 2 * gpu.GRACE_S * len(gpu.SECONDS)
    assert sum(gpu.SECONDS.values()) + stops < 610 and sum(gpu.SECONDS.values()) <= 570


def test_rates_are_those_between_the_first_batch_and_the_last() -> None:
    def batch(second: int, units: int = 4, kind: str = "generator") -> dict[str, object]:
        return {"event": "batch", "kind": kind, "units": units, "at": f"2026-11-27T10:00:{second:02}+00:00"}

    times = {"event": "times", "kind": "generator", "busy_s": 9.0, "ready_s": 10.0}
    events = [batch(1, kind="encoder"), batch(10), batch(12), batch(14), times]
    first, last = 1795773610.0, 1795773614.0
    use = DeviceUse(samples=[(first - 5, 0.0), (first + 1, 90.0), (last, 80.0), (last + 2, 0.0)])
    assert rates(events, use) == {
        "images/s between batches": 2.0,
        "generator without a batch": 0.1,
        "device idle": 0.15,
    }
    assert set(rates([batch(10)], use).values()) == {""}


def test_lines_of_nvidia_smi_are_read_and_others_left_out() -> None:
    text = "2026/11/27 10:00:10.250, 87\nFailed to initialize NVML\n2026/11/27 10:00:10.500, [N/A]\n"
    [(at, percent)] = samples_of(text)
    assert percent == 87.0 and time.strftime("%H:%M:%S", time.localtime(at)) == "10:00:10"


def test_a_section_that_is_stopped_ends_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "GRACE_S", 0.1)
    code = (
        "import pathlib, subprocess, sys, time; child = subprocess.Popen(['sleep', '600']); "
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    assert gpu._run_section([sys.executable, "-c", code], 2.0) == "was stopped after its 2 s"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not is_alive(pid):
            return
        time.sleep(0.1)
    raise AssertionError("its child is still there")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_with_few_channels(tmp_path: Path) -> None:
    """The same command as on a GPU: SDXL, the VAE and a job through Ray."""
    command = [sys.executable, "-m", "recipes.speed.gpu", "--out", str(tmp_path), "--tiny", "--scale", "3"]
    done = subprocess.run(
        [*command, "--sections", "sdxl,vae,job"],
        cwd=Path(gpu.__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sections = json.loads((tmp_path / "report.json").read_text("utf-8"))["sections"]
    assert {name: section["end"] for name, section in sections.items()} == dict.fromkeys(
        ("sdxl", "vae", "job"), "finished"
    )
    assert not any(section["notes"] for section in sections.values())
    assert [row["batch"] for row in sections["sdxl"]["rows"]] == [1] * 5 + [2] * 5
    run, batch = sections["job"]["rows"]
    assert run["images"] == 4 and run["images/s between batches"] > 0
    assert 0 < batch["device idle"] < 1
    assert "| job on mini |" in (tmp_path / "report.md").read_text("utf-8")
