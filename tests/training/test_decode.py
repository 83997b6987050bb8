"""Pictures are decoded no larger than needed: JPEGs at a fraction, where frame and subject allow it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.errors import ImageError
from dreamcache.training.decode import decode_picture
from dreamcache.training.transform import ItemShape, target_view

WIDTH, HEIGHT = 400, 320


def photo(kind: str = "JPEG", orientation: int = 1) -> bytes:
    """Smooth colours, so that a smaller decoding loses little of them."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    pixels = np.stack([x, y, (np.sin(9 * x) + 1) / 2], axis=2)
    image, out = Image.fromarray((pixels * 255).astype(np.uint8)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(out, kind, **({"quality": 95, "exif": exif} if kind == "JPEG" else {}))
    return out.getvalue()


def mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> bytes:
    image, out = Image.new("L", size), io.BytesIO()
    image.paste(255, box)
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("box", "side", "is_cut", "expected"),
    [
        ((0, 0, 400, 320), 64, True, (100, 80)),
        ((0, 0, 200, 100), 64, True, (200, 160)),  # a subject of 200 px may become 100, not 50
        ((0, 0, 70, 20), 64, True, (400, 320)),
        ((0, 0, 70, 20), 64, False, (100, 80)),  # another photo is the reference
        ((0, 0, 400, 320), 0, True, (400, 320)),
        ((0, 0, 400, 320), 512, True, (400, 320)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_frame_and_subject_need(
    box: tuple[int, int, int, int], side: int, is_cut: bool, expected: tuple[int, int]
) -> None:
    image, marked = decode_picture(photo(), mask((WIDTH, HEIGHT), box), "photo", side, is_cut=is_cut)
    assert image.size == expected and marked is not None and marked.shape == expected[::-1]
    share = (box[2] - box[0]) * (box[3] - box[1]) / (WIDTH * HEIGHT)
    assert marked.mean() == pytest.approx(share, rel=0.05)


def test_the_target_is_that_of_the_full_size() -> None:
    shape, whole = ItemShape(size=64, latent=(4, 8, 8)), mask((WIDTH, HEIGHT), (100, 60, 300, 260))
    full, small = (target_view(*decode_picture(photo(), whole, "photo", side), shape) for side in (0, 64))
    assert np.abs(full["pixels"] - small["pixels"]).mean() < 0.01
    assert np.abs(full["mask"] - small["mask"]).max() < 0.1


def test_an_upright_mask_fits_a_photo_that_lies() -> None:
    """Orientation 6 is turned by a quarter: the mask has the size of the photo as people see it."""
    upright = mask((HEIGHT, WIDTH), (0, 0, 320, 200))
    image, marked = decode_picture(photo(orientation=6), upright, "photo", 64)
    assert image.size == (80, 100) and marked is not None and marked[:50].all() and not marked[50:].any()
    with pytest.raises(ImageError, match="must have the size of the upright photo, 320x400") as error:
        decode_picture(photo(orientation=6), mask((WIDTH, HEIGHT), (0, 0, 9, 9)), "photo", 64)
    assert error.value.code == "mask_size_mismatch"


def test_other_formats_and_hairs_keep_their_size() -> None:
    assert decode_picture(photo("PNG"), None, "photo", 64)[0].size == (WIDTH, HEIGHT)
    image, marked = decode_picture(photo(), mask((WIDTH, HEIGHT), (0, 100, 400, 101)), "photo", 64)
    assert image.size == (WIDTH, HEIGHT) and marked is not None and marked.sum() == WIDTH
    with pytest.raises(ImageError) as error:
        decode_picture(photo(), mask((WIDTH, HEIGHT), (0, 0, 0, 0)), "photo", 64)
    assert error.value.code == "empty_mask"
    with pytest.raises(ImageError):
        decode_picture(photo()[:-400], None, "photo", 64)
