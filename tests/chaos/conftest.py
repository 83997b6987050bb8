"""What the chaos suite shares: the tiny model, a cluster of several nodes, and an undisturbed job to compare with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.faulty_proxy import FaultyProxy, faulty_proxy
from tests.chaos.shop import SEED, Shop
from tests.command import environment
from tests.end_to_end.conftest import tiny_model
from tests.end_to_end.s3_job import S3Job
from tests.s3_server import S3Server

__all__ = ["tiny_model"]


def pytest_report_header() -> str:
    return f"chaos: CHAOS_SEED={SEED}"


@pytest.fixture(scope="session")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server) as made:
        yield made


@pytest.fixture(scope="session")
def shop(
    s3_server: S3Server,
    proxy: FaultyProxy,
    tiny_model: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """With a cluster that is there for the whole session."""
    with Cluster(environment(proxy.environment())) as cluster:
        yield Shop(
            server=s3_server,
            proxy=proxy,
            cluster=cluster,
            model=tiny_model,
            folder=tmp_path_factory.mktemp("shop"),
        )


@pytest.fixture(autouse=True)
def restored(request: pytest.FixtureRequest) -> None:
    """A test begins with a whole shop, whatever the one before has done to it."""
    if "shop" in request.fixturenames:
        shop: Shop = request.getfixturevalue("shop")
        shop.server.start()
        shop.cluster.restore()


@pytest.fixture(scope="session")
def calm(shop: Shop) -> S3Job:
    """The job, run once with nothing in its way."""
    job = shop.job("calm")
    shop.run(job)
    return job
