"""The packshot's edges: every pixel of the subject, and none of what is around it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dreamcache.model.preprocess import packshot

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def test_no_background_shows_through_an_edge_inside_the_box() -> None:
    """A subject whose box holds background too: any mix of red and white has as much green as blue."""
    mask = np.zeros((60, 60), np.bool_)
    mask[10:50, 10:20] = mask[40:50, 10:50] = True
    image = Image.fromarray(np.where(mask[..., None], RED, GREEN).astype(np.uint8))
    pixels = np.asarray(packshot(image, mask, size=80, margin=0.0)).astype(int)
    assert np.abs(pixels[:, :, 1] - pixels[:, :, 2]).max() <= 1


def test_the_first_and_last_rows_and_columns_of_the_subject_are_there() -> None:
    """At the subject's own size, so that a pixel is a pixel: a red square within a blue frame one pixel wide."""
    mask = np.zeros((60, 60), np.bool_)
    mask[10:50, 10:50] = True
    inner = np.zeros_like(mask)
    inner[11:49, 11:49] = True
    colours = np.where(inner[..., None], RED, np.where(mask[..., None], BLUE, GREEN)).astype(np.uint8)
    pixels = np.asarray(packshot(Image.fromarray(colours), mask, size=40, margin=0.0)).astype(int)
    for edge in (pixels[0, 5:-5], pixels[-1, 5:-5], pixels[5:-5, 0], pixels[5:-5, -1]):
        assert (edge[:, 2] > edge[:, 0]).all(), "blue, softened into the white"
    assert (pixels[2:-2, 2:-2] == RED).all()
