"""Fixtures of the storage tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder: once a local one, once on the real S3 server."""
    return str(tmp_path / "place") if request.param == "local" else str(request.getfixturevalue("bucket"))
