"""Rows of a batch are computed apart: in latents and floats of pixels, before any rounding could hide it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline
from tests.end_to_end.photos import picture


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("rows", [3, 5])
def test_equal_rows_stay_equal(epsilon_pipe: DreamCachePipeline, rows: int) -> None:
    subject = epsilon_pipe.encode_reference(picture(0))
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)).expand(rows, -1, -1, -1)
    images = epsilon_pipe(
        ["a mug"] * rows, subject, latents=noise, num_inference_steps=2, output_type="np"
    ).images
    assert [bool(np.array_equal(image, images[0])) for image in images] == [True] * rows
