"""Fixtures that several families' test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamcache import DreamCachePipeline
from tests.families.sdxl import LONG, save_random_adapter, save_sdxl


@pytest.fixture(scope="module", params=["epsilon", pytest.param("v_prediction", marks=LONG)])
def sdxl_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    save_random_adapter(root / "adapter", save_sdxl(root / "base", prediction_type=request.param))
    return root


@pytest.fixture(scope="module")
def sdxl_pipe(sdxl_folder: Path) -> DreamCachePipeline:
    pipe = DreamCachePipeline.from_pretrained(sdxl_folder / "base", adapter=sdxl_folder / "adapter")
    pipe.set_progress_bar_config(disable=True)
    return pipe
