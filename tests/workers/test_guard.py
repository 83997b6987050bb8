"""The guard of a worker on a real Ray: time limits, SIGTERM, memory, and workers that only ever die."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamcache.core.config.failures import FailurePolicy
from workers.attempts import AttemptBook
from workers.guard import Watch

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(300)]

TIMEOUT_S = 1.0
POLICY = FailurePolicy(max_attempts=2, item_timeout_s=TIMEOUT_S, max_worker_deaths=5)
GIB = 2**30


class Guarded:
    """A worker that sleeps, allocates or dies within its attempts."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        watch.join()

    def pid(self) -> int:
        return os.getpid()

    def sleep(self, seconds: float, batches: int) -> str:
        with self.watch.attempt(["a"], batches=batches):
            time.sleep(seconds)
        return "done"

    def write(self, file: Path, seconds: float) -> str:
        """A batch that commits its result at its end."""
        with self.watch.shutdown.batch():
            file.with_suffix(".begun").touch()
            time.sleep(seconds)
            file.write_text("committed")
        return "handed over"

    def allocate(self, size: int) -> str:
        try:
            with self.watch.attempt(["large"]):
                return f"{np.ones(size, np.uint8).sum()} bytes"
        except MemoryError:
            return "MemoryError"


def start(
    policy: FailurePolicy = POLICY, *, memory_bytes: int | None = None, restarts: int = 0
) -> tuple[Any, Any]:
    """(book, worker), both actors."""
    import ray

    book = ray.remote(num_cpus=0)(AttemptBook).remote(policy)
    watch = Watch(book, policy, gpus=0, memory_bytes=memory_bytes)
    worker = ray.remote(num_cpus=0, max_restarts=restarts, max_task_retries=restarts)(Guarded).remote(watch)
    ray.get(worker.pid.remote())
    return book, worker


def wait_for(condition: Any) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


def test_an_attempt_of_three_batches_may_last_three_times_the_limit(cluster: None) -> None:
    import ray

    _, worker = start()
    assert ray.get(worker.sleep.remote(2 * TIMEOUT_S, batches=3)) == "done"
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(worker.sleep.remote(3 * TIMEOUT_S, batches=1))
    _, worker = start()
    started = time.monotonic()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(worker.sleep.remote(60, batches=3))
    assert 3 * TIMEOUT_S <= time.monotonic() - started < 30


def test_an_item_that_hangs_is_quarantined_as_a_timeout(cluster: None) -> None:
    import ray

    book, worker = start(restarts=-1)
    worker.sleep.remote(60, batches=1)
    wait_for(lambda: ray.get(book.sort.remote(["a", "b"])).quarantined)
    plan = ray.get(book.sort.remote(["a", "b"]))
    assert plan.quarantined["a"].code == "timeout" and plan.groups == (("b",),)
    ray.kill(worker)


def test_sigterm_lets_the_batch_in_flight_finish_and_commit(cluster: None, tmp_path: Path) -> None:
    import ray

    _, worker = start(restarts=-1)
    pid, file = ray.get(worker.pid.remote()), tmp_path / "result"
    batch = worker.write.remote(file, 2.0)
    wait_for(file.with_suffix(".begun").exists)
    os.kill(pid, signal.SIGTERM)
    queued = worker.write.remote(tmp_path / "next", 0.0)
    assert ray.get(batch) == "handed over" and file.read_text() == "committed"
    # The next batch begins in a new process: the old one takes none after the signal.
    assert ray.get(queued) == "handed over"
    assert ray.get(worker.pid.remote()) != pid
    ray.kill(worker)


def test_memory_beyond_the_limit_is_an_error_of_the_item(cluster: None) -> None:
    import ray

    _, worker = start(POLICY, memory_bytes=2 * GIB)
    assert ray.get(worker.allocate.remote(4 * GIB)) == "MemoryError"
    assert ray.get(worker.allocate.remote(2**20)) == f"{2**20} bytes"


def test_a_worker_that_died_too_often_reports_it(cluster: None) -> None:
    import ray

    _book, worker = start(
        FailurePolicy(max_worker_deaths=2), restarts=-1
    )  # an actor lives while it is referenced
    for _death in range(2):
        os.kill(ray.get(worker.pid.remote()), signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayError, match="a worker died 2 times and finished no batch"):
        ray.get(worker.pid.remote())
