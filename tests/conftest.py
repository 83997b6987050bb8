"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from hashlib import sha256

import pytest

from tests.s3_server import S3Server

# Before torch is imported, and for every process a test starts, whatever the shell exports: threads that wait for each
# other on a busy core spin.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is told when it happens: a run that is cut short has no summary."""
    report = yield
    if report.failed and (terminal := item.config.pluginmanager.get_plugin("terminalreporter")):
        terminal.write_sep("_", f"{report.nodeid} ({report.when}) failed, after {report.duration:.0f} s")
        terminal.write_line(report.longreprtext)
    return report


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The session's S3 server; the AWS_* variables of this process stay as they are."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Server]:
    """The running server, with the AWS_* variables of this process set to it for this test only."""
    s3_server.start()
    with s3_server.use():
        yield s3_server


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """URI of a folder of this test's own on the server."""
    return f"{s3.make_bucket('tests')}/{sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
