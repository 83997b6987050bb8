"""Fixtures of the storage tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gs_server import SLOW, gs_bucket, gs_server

__all__ = ["gs_bucket", "gs_server"]


@pytest.fixture(params=["local", "s3", pytest.param("gs", marks=SLOW)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder: a local one, one on the real S3 server, one on a server that speaks GCS' protocol."""
    if request.param == "local":
        return str(tmp_path / "place")
    return str(request.getfixturevalue("bucket" if request.param == "s3" else "gs_bucket"))
