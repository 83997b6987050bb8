"""The guard of a worker in a process of its own, without Ray: its time limit, and what SIGTERM waits for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ATTEMPT = """
import sys, time
from dreamcache.core.config.failures import FailurePolicy
from tests.workers.near_book import near_watch
watch = near_watch(FailurePolicy(item_timeout_s=1.0))
watch.join()
with watch.attempt(["a"], batches=int(sys.argv[1])):
    time.sleep(float(sys.argv[2]))
print("done")
"""
SHUTDOWN = """
import time
from workers.guard import HANDOVER_S, GracefulShutdown
shutdown = GracefulShutdown()
with shutdown.batch():
    print("begun", flush=True)
    time.sleep(1.0)
    print("committed", flush=True)
time.sleep(HANDOVER_S / 2)
print("handed over", flush=True)
time.sleep(60)
print("still there", flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_attempt_of_three_batches_has_the_time_of_three() -> None:
    processes = [start(ATTEMPT, 3, 1.5), start(ATTEMPT, 1, 60)]
    (fine, _), (late, stack) = [process.communicate(timeout=120) for process in processes]
    assert fine == "done\n" and processes[0].returncode == 0
    assert late == "" and processes[1].returncode == 1 and "Timeout" in stack


def test_sigterm_lets_the_batch_in_flight_be_committed_and_handed_over() -> None:
    process = start(SHUTDOWN)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    started = time.monotonic()
    process.terminate()
    rest, _ = process.communicate(timeout=120)
    assert rest == "committed\nhanded over\n" and process.returncode == 1
    assert time.monotonic() - started < 50
