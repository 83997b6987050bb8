"""What a jpeg loses: as little as its quality says, and no colour resolution."""

from __future__ import annotations

import numpy as np
import pytest

from dreamcache.core.config import ImageFormat
from dreamcache.storage.image_store import decode_image, encode_image


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_quality_decides_the_loss(name: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [
        len(encode_image(rgb, ImageFormat(format=name, quality=quality), {})) for quality in (30, 75, 95)
    ]  # type: ignore[arg-type]
    assert sizes[0] < 0.8 * sizes[1] < 0.8 * sizes[2]


def test_coloured_print_is_not_smeared() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
    decoded = decode_image(encode_image(stripes, ImageFormat(format="jpeg", quality=95), {}))
    assert np.abs(decoded.astype(int) - stripes).mean() < 10
