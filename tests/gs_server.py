"""Fixtures: a server that speaks the protocol of Google Cloud Storage, and a folder of a test's own on it.

Import them into a conftest or module. The server honours generation preconditions of multipart uploads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import pytest

from tests.cloud_servers import GcsServer

SLOW = [pytest.mark.slow, pytest.mark.turns(unit="module")]
CI = os.environ.get("DREAMCACHE_CI") == "1"


def gs_variables() -> list[str]:
    """Names of this process's variables that lead a client of Google's anywhere."""
    from dreamcache.storage import cloud

    return [name for name in os.environ if name.startswith(cloud.SETTINGS)]


@contextmanager
def leading_to(variables: dict[str, str]) -> Iterator[None]:
    """This process's settings of cloud stores are these alone within the block."""
    from dreamcache.storage import cloud

    with pytest.MonkeyPatch.context() as patch:
        for name in gs_variables():
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        cloud.known_buckets.clear()
        yield
        cloud.known_buckets.clear()


@pytest.fixture(scope="session")
def gs_server() -> Iterator[GcsServer]:
    """The session's server; this process's variables stay as they are."""
    reason = GcsServer.absent()
    if reason is not None and not CI:  # where the development extras bring it
        pytest.skip(reason)
    with GcsServer() as server:
        yield server


@pytest.fixture
def gs_bucket(gs_server: GcsServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """URI of a folder of this test's own on the server, to which this process's variables lead."""
    gs_server.create_bucket("tests")
    with leading_to(gs_server.environment()):
        yield f"gs://tests/{sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
