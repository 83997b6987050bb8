"""A storage that dies and comes back, and one that does wrong to one request in five: the job ends as ever."""

from __future__ import annotations

import pytest

from tests.chaos.end_state import assert_same_end
from tests.chaos.faulty_proxy import KINDS
from tests.chaos.shop import ITEMS, SEED, Shop, at_moments, random_of
from tests.end_to_end.s3_job import S3Job

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ANSWER_S = 2
"""How long the job's processes wait for an answer, since one in five PUTs gets none."""


def test_the_server_is_killed_and_comes_back(shop: Shop, calm: S3Job) -> None:
    rng, job = random_of("server"), shop.job("server")

    def kill_and_start() -> None:
        shop.server.kill()
        shop.server.start()

    with shop.running(job) as command:
        moments = sorted(rng.sample(range(1, ITEMS - 8), 2))
        committed = at_moments(job, command, moments, kill_and_start)
        shop.end(command)
    assert_same_end(job, calm, shop.server, committed=committed)


@pytest.mark.parametrize("kind", KINDS)
def test_one_request_in_five(kind: str, shop: Shop, calm: S3Job) -> None:
    job = shop.job(f"faulty-{kind}", failures={"storage_timeout_s": ANSWER_S})
    with shop.proxy.faults(kind, SEED):
        shop.run(job)
    assert shop.proxy.met[kind] > ITEMS // 4
    assert_same_end(job, calm, shop.server)
