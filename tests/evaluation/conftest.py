"""Encoders and pictures that the tests of evaluation share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.encoders import save_clip, save_dino, save_dinov2


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tiny encoders by name."""
    folder = tmp_path_factory.mktemp("encoders")
    return {
        "clip": str(save_clip(folder / "clip")),
        "dino": str(save_dino(folder / "dino")),
        "dinov2": str(save_dinov2(folder / "dinov2")),
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder for a test's own pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder
