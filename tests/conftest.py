"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rotation import pytest_addoption, pytest_collection_modifyitems, pytest_report_header
from tests.s3_server import S3Server

if TYPE_CHECKING:
    from dreamcache import DreamCachePipeline

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_report_header"]

# Before torch is imported, and for every process a test starts, whatever the user exports: threads that wait for each
# other on a busy core spin, and the last bits of a sum depend on their number. Where a test sets two, they sleep.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_WAIT_POLICY="passive")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is reported when it happens: a run that is cut short has no summary."""
    report = yield
    if report.failed and (terminal := item.config.pluginmanager.get_plugin("terminalreporter")):
        terminal.write_sep("_", f"{report.nodeid} ({report.when}) failed, after {report.duration:.0f} s")
        terminal.write_line(report.longreprtext)
    return report


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A Ray that a module's tests have started in this process ends with them, and so does the time for which their
    commands retried requests: modules share processes."""
    yield
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
    budget = sys.modules.get("dreamcache.storage.retry_budget")
    if budget is not None:
        budget.set_retry_budget(0.0)


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


@pytest.fixture(scope="session")
def epsilon_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder of the real classes with random weights, norms included, 128 px."""
    from tests.tiny import save_base

    return save_base(tmp_path_factory.mktemp("base"), random_norms=True)


@pytest.fixture(scope="session")
def epsilon_pipe(epsilon_base: Path, tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    """Its pipeline, with a random adapter."""
    return _pipeline(epsilon_base, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def v_prediction_pipe(tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    """A pipeline whose base predicts the velocity."""
    from tests.tiny import save_base

    base = save_base(tmp_path_factory.mktemp("base-v"), prediction_type="v_prediction", random_norms=True)
    return _pipeline(base, tmp_path_factory.mktemp("adapter-v"))


def _pipeline(base: Path, adapter: Path) -> DreamCachePipeline:
    # Imported here, so that tests of storage and planning do not wait for torch.
    from dreamcache import DreamCachePipeline
    from tests.tiny import save_random_adapter

    folder = save_random_adapter(adapter, base, random_norms=True)
    return DreamCachePipeline.from_pretrained(str(base), adapter=str(folder))
