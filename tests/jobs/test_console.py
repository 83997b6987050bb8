"""Lines that are not ours stay away from the console, and `--verbose` brings them back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jobs.cli import main as main_module
from jobs.cli.console import take_verbose
from jobs.cluster.job_log import own_lines

PROGRAM = """
import os, sys
from jobs.cli.console import quiet_core, quiet_libraries, take_verbose
if not take_verbose(sys.argv):
    quiet_libraries()
    quiet_core()
os.write(2, b"[2026-11-27 08:24:20,404 E 15123 15123] core_worker.cc:2465: Actor with class name\\n")
os.write(2, b"[2026-11-27 08:24:20,404 F 15123 15123] a check failed\\n")
os.write(2, b"Fatal Python error\\n")
print("ours", file=sys.stderr)
import logging, warnings
logging.getLogger("transformers.x").warning("chatter")
warnings.warn("old", FutureWarning)
os._exit(3)
"""


def printed(*args: str) -> tuple[int, list[str]]:
    env = {name: value for name, value in os.environ.items() if name != "DREAMCACHE_VERBOSE"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


def test_lines_of_ray_s_core_and_of_libraries_stay_away() -> None:
    code, lines = printed()
    assert code == 3 and sorted(lines) == sorted(
        ["[2026-11-27 08:24:20,404 F 15123 15123] a check failed", "Fatal Python error", "ours"]
    )


def test_verbose_shows_them() -> None:
    code, lines = printed("--verbose")
    text = "\n".join(lines)
    assert code == 3 and all(word in text for word in ("core_worker.cc", "ours", "chatter", "FutureWarning"))


def test_the_flag_is_taken_from_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMCACHE_VERBOSE", "")
    words = ["run", "--verbose", "job.yaml", "--", "--verbose"]
    assert take_verbose(words) and words == ["run", "job.yaml", "--", "--verbose"]
    monkeypatch.setenv("DREAMCACHE_VERBOSE", "")
    assert not take_verbose(["run"])


def test_every_verb_that_joins_or_starts_a_cluster_is_quiet() -> None:
    takes_cluster = {
        command.name
        for command in main_module.app.registered_commands
        if getattr(command.callback, "__annotations__", {}).get("address") == "Cluster"
    }
    assert {"run", "retry", "train", "ablate", "synthesize", "evaluate"} <= takes_cluster
    assert takes_cluster <= set(main_module.STARTS_RAY)


RAYS = (
    "2026-11-27 11:47:27,669\tINFO job_manager.py:581 -- Runtime env is setting up.",
    "Running entrypoint for job dreamcache-a-1: exec python dreamcache_entry.py",
    "[2026-11-27 08:24:20,404 E 15123 15123] core_worker.cc:2465: Actor with class name",
)
OURS = (
    "images 3/4  done 3",
    "2026-11-27 11:47:27,669\tERROR runtime_env.py:9 -- no space",
    "",
    "INFO of mine",
)


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_a_job_s_log_without_the_lines_of_ray(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join([RAYS[0], OURS[0], RAYS[1], OURS[1], RAYS[2], *OURS[2:]])
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    monkeypatch.delenv("DREAMCACHE_VERBOSE", raising=False)
    assert "".join(own_lines(chunks)) == "\n".join(OURS)
    assert "".join(own_lines([*chunks, "\n"])) == "\n".join(OURS) + "\n"
    monkeypatch.setenv("DREAMCACHE_VERBOSE", "1")
    assert "".join(own_lines(chunks)) == text
