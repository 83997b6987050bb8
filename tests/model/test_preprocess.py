"""The packshot: subject on white, centred, aspect kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dreamcache.model.preprocess import packshot, to_tensor


def photo(width: int = 120, height: int = 80) -> tuple[Image.Image, np.ndarray]:
    """A red 40 x 20 box at (60, 10) on green."""
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[10:30, 60:100] = True
    pixels = np.full((height, width, 3), (0, 200, 0), dtype=np.uint8)
    pixels[mask] = (200, 0, 0)
    return Image.fromarray(pixels), mask


def test_subject_fills_the_frame_but_the_margin() -> None:
    image, mask = photo()
    pixels = np.asarray(packshot(image, mask, size=100, margin=0.1)).astype(int)
    assert pixels.shape == (100, 100, 3)
    is_subject = np.abs(pixels - 255).sum(axis=2) > 60
    rows, columns = np.flatnonzero(is_subject.any(axis=1)), np.flatnonzero(is_subject.any(axis=0))
    assert abs(columns[0] - 10) <= 1
    assert abs(columns[-1] - 89) <= 1
    assert abs(rows[0] - 30) <= 1
    assert abs(rows[-1] - 69) <= 1
    assert tuple(pixels[50, 50]) == (200, 0, 0)
    assert tuple(pixels[5, 5]) == (255, 255, 255)


def test_no_background_leaks_through_the_soft_edge() -> None:
    image, mask = photo()
    pixels = np.asarray(packshot(image, mask, size=160, margin=0.05)).astype(int)
    # Any mix of red and white has as much green as blue; a trace of the green ground would not.
    assert np.abs(pixels[:, :, 1] - pixels[:, :, 2]).max() <= 1


@pytest.mark.parametrize("mask", [None, np.ones((80, 120), dtype=np.bool_)])
def test_without_a_mask_the_whole_photo_is_padded(mask: np.ndarray | None) -> None:
    image, _ = photo()
    pixels = np.asarray(packshot(image, mask, size=120, margin=0.2))
    assert (pixels[:19] == 255).all()
    assert (pixels[101:] == 255).all()
    assert np.array_equal(pixels[20:100], np.asarray(image))


def test_transparency_becomes_white() -> None:
    image, mask = photo()
    clear = image.copy()
    clear.putalpha(Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)))
    assert packshot(clear, None, size=64, margin=0.0).getpixel((2, 32)) == (255, 255, 255)


def test_extremes_and_repetition() -> None:
    image, _ = photo()
    dot = np.zeros((80, 120), dtype=np.bool_)
    dot[40, 60] = True
    line = np.zeros((80, 120), dtype=np.bool_)
    line[:, 3] = True
    for mask in (dot, line):
        first, again = (packshot(image, mask, size=64, margin=0.05) for _ in range(2))
        assert first.size == (64, 64)
        assert first.tobytes() == again.tobytes()


def test_wrong_masks_are_refused() -> None:
    image, mask = photo()
    with pytest.raises(ValueError, match="80 x 120"):
        packshot(image, mask.T, size=64, margin=0.0)
    with pytest.raises(ValueError, match="at least one pixel"):
        packshot(image, np.zeros_like(mask), size=64, margin=0.0)


def test_tensor_range_and_layout() -> None:
    image = Image.new("RGB", (16, 16), (0, 255, 51))
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor[0, 0].unique().tolist() == [-1.0]
    assert tensor[0, 1].unique().tolist() == [1.0]
    assert tensor[0, 2, 0, 0].item() == pytest.approx(-0.6)
