"""Two drivers on one job: at the same time, and one that comes back after its peer has ended."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.chaos.end_state import assert_not_rewritten, assert_same_end
from tests.chaos.shop import Shop, at_moments, random_of
from tests.end_to_end.s3_job import S3Job

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]


def test_at_the_same_time(shop: Shop, calm: S3Job) -> None:
    job = shop.job("two", cache=f"{calm.folder}/cache")
    with shop.running(job) as one, shop.running(job) as other:
        answers = [shop.end(one), shop.end(other)]
    assert [(answer["done"], answer["pending"]) for answer in answers] == [(answers[0]["total"], 0)] * 2
    assert_same_end(job, calm, shop.server)


def test_paused_until_its_peer_has_ended(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of("paused"), shop.job("paused", cache=f"{calm.folder}/cache")
    with shop.running(job) as paused:
        at_moments(job, paused, [rng.randrange(1, 16)], lambda: os.kill(paused.process.pid, signal.SIGSTOP))
        shop.run(job)
        done, objects = job.objects("images/"), job.objects()
        assert_same_end(job, calm, shop.server)
        os.kill(paused.process.pid, signal.SIGCONT)
        shop.end(paused)
    assert_not_rewritten(job, [done])
    assert set(job.objects("images/")) == set(done)
    assert {key for key in objects if key.startswith("ledger/")} <= set(job.objects())
    assert_same_end(job, calm, shop.server)
    assert json.loads(job.read("status.json"))["state"] == "finished"
