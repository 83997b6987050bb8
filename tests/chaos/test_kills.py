"""SIGKILL for every part of a cluster at five random moments of a job: it ends as the undisturbed one does."""

from __future__ import annotations

import signal
import time
from random import Random

import pytest

from tests.chaos.end_state import Images, assert_same_end
from tests.chaos.shop import (
    ENCODER,
    GENERATOR,
    ITEMS,
    KILLS,
    SUBJECTS,
    Shop,
    at_moments,
    features,
    images,
    random_of,
)
from tests.end_to_end.s3_job import S3Job

BLAMELESS = {"max_attempts": 2 * KILLS}
"""On a busy machine all kills may hit one item, which a job would rightly take for their cause: see test_poison."""

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]


def moments(rng: Random, most: int) -> list[int]:
    return sorted(rng.sample(range(1, most), KILLS))


def test_generators(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of(GENERATOR), shop.job("generators", cache=f"{calm.folder}/cache", failures=BLAMELESS)
    with shop.running(job) as command:
        committed = at_moments(
            job, command, moments(rng, ITEMS - 8), lambda: shop.cluster.kill_worker(GENERATOR, rng)
        )
        shop.end(command)
    assert_same_end(job, calm, shop.server, committed=committed)


def test_encoders(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of(ENCODER), shop.job("encoders", failures=BLAMELESS)
    with shop.running(job) as command:
        committed = at_moments(
            job,
            command,
            moments(rng, SUBJECTS - 4),
            lambda: shop.cluster.kill_worker(ENCODER, rng),
            count=features,
            total=SUBJECTS,
        )
        shop.end(command)
    assert_same_end(job, calm, shop.server, committed=committed)


def test_nodes(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of("raylet"), shop.job("nodes", cache=f"{calm.folder}/cache", failures=BLAMELESS)

    def lose_one_and_add_one() -> None:
        shop.cluster.lose_node(GENERATOR, rng)
        shop.cluster.add_node()

    with shop.running(job) as command:
        committed = at_moments(job, command, moments(rng, ITEMS - 8), lose_one_and_add_one)
        shop.end(command)
    assert_same_end(job, calm, shop.server, committed=committed)


def test_the_driver(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of("driver"), shop.job("driver", cache=f"{calm.folder}/cache")
    committed: list[Images] = []
    for moment in moments(rng, ITEMS - 8):
        before = images(job)
        with shop.running(job) as command:
            committed += at_moments(
                job, command, [max(moment, before + 1)], lambda: command.end(signal.SIGKILL)
            )
        assert "manifest.json" not in job.objects()
        wait_until_gone(shop)
    answer = shop.run(job)
    assert 0 < answer["generated"] < ITEMS
    assert_same_end(job, calm, shop.server, committed=committed)


def test_the_head(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of("head"), shop.job("head", cache=f"{calm.folder}/cache")
    committed: list[Images] = []
    for moment in moments(rng, ITEMS - 8):
        before = images(job)
        with shop.running(job) as command:
            committed += at_moments(job, command, [max(moment, before + 1)], shop.cluster.lose_head)
        # Leaving the block kills the driver, which was on that machine.
        assert "manifest.json" not in job.objects()
        shop.cluster.start()
    shop.run(job)
    assert_same_end(job, calm, shop.server, committed=committed)


def wait_until_gone(shop: Shop) -> None:
    """The actors of a driver that was killed end by themselves."""
    deadline = time.monotonic() + 60
    while left := shop.cluster.workers("Worker("):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)
