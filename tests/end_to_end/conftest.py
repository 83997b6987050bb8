"""The tiny model of all end-to-end tests, and what they read of a job that has run."""

from __future__ import annotations

import pytest

from tests.tiny import save_base, save_random_adapter


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`model:` of a job file: a base and an adapter of the real classes with random weights, 128 px."""
    folder = tmp_path_factory.mktemp("tiny")
    base = save_base(folder / "base")
    return {"base": str(base), "adapter": str(save_random_adapter(folder / "adapter", base))}
