"""Pipelines on tiny models with random weights, norms included."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamcache import DreamCachePipeline
from tests.tiny import save_base, save_random_adapter


@pytest.fixture(scope="session")
def epsilon_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), random_norms=True)


@pytest.fixture(scope="session")
def epsilon_pipe(epsilon_base: Path, tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    adapter = save_random_adapter(tmp_path_factory.mktemp("adapter"), epsilon_base, random_norms=True)
    return DreamCachePipeline.from_pretrained(str(epsilon_base), adapter=str(adapter))


@pytest.fixture(scope="session")
def v_prediction_pipe(tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    base = save_base(tmp_path_factory.mktemp("base-v"), prediction_type="v_prediction", random_norms=True)
    adapter = save_random_adapter(tmp_path_factory.mktemp("adapter-v"), base, random_norms=True)
    return DreamCachePipeline.from_pretrained(str(base), adapter=str(adapter))
