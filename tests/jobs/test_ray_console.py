"""Lines that Ray prints in the driver: never on stdout, on stderr only where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.cluster.ray_console import keep_off_stdout

ERROR = {"lines": ["A worker died or was killed while executing a task"], "pid": "raylet", "is_err": False}
"""As Ray's thread for the cluster's error messages hands it on."""


@pytest.fixture(autouse=True)
def printer() -> Iterator[None]:
    from ray._private import worker

    before = worker.print_worker_logs
    yield
    worker.print_worker_logs = before


@pytest.mark.parametrize("is_shown", [True, False])
def test_error_messages_of_the_cluster(is_shown: bool, capfd: pytest.CaptureFixture[str]) -> None:
    from ray._private.worker import print_to_stdstream

    keep_off_stdout(is_shown=True)
    keep_off_stdout(is_shown=is_shown)  # the last call counts
    print_to_stdstream(dict(ERROR), ignore_prefix=False)
    printed = capfd.readouterr()
    assert printed.out == "" and ("(raylet)" in printed.err) == is_shown
