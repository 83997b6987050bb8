"""The training transform on pictures that are not square, not opaque and not white."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dreamcache.core.config.train import TransformSettings
from dreamcache.training.transform import ItemShape, reference_view, target_view

SHAPE = ItemShape(size=64, latent=(4, 8, 8))
STILL = TransformSettings(jitter_p=0.0, flip_p=0.0, erase_p=0.0)


def test_a_wide_target_and_its_mask_are_cropped_alike() -> None:
    """Left quarter red, middle half green, right quarter blue: the centre square is green."""
    image = Image.new("RGB", (128, 64), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 32, 64))
    image.paste((0, 0, 255), (96, 0, 128, 64))
    mask = np.zeros((64, 128), bool)
    mask[:, 32:64] = True
    view = target_view(image, mask, SHAPE)
    assert view["pixels"].shape == (3, 64, 64) and view["mask"].shape == (1, 8, 8)
    assert np.allclose(view["pixels"][:, :, 4:60], np.array([-1, 1, -1]).reshape(3, 1, 1))
    assert np.array_equal(view["mask"][0] == 1, np.tile(np.arange(8) < 4, (8, 1)))


def test_a_transparent_target_stands_on_white() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (16, 16, 48, 48))
    pixels = target_view(image, None, SHAPE)["pixels"]
    assert np.allclose(pixels[:, 2, 2], 1) and np.allclose(pixels[:, 32, 32], (1, -1, -1))


def test_jitter_keeps_what_is_transparent() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((200, 40, 40, 255), (16, 16, 48, 48))
    always = TransformSettings(jitter_p=1.0, flip_p=0.0, erase_p=0.0)
    for seed in range(5):
        view = np.asarray(reference_view(image, None, always, size=64, rng=np.random.default_rng(seed)))
        white = (view == 255).all(axis=-1).mean()
        assert white > 0.5, "three quarters of the photo are transparent"


def test_the_subject_stays_in_the_frame_at_a_random_size_and_is_flipped() -> None:
    """A black bar with one red end, wider than high."""
    image = Image.new("RGB", (64, 64), "white")
    image.paste("black", (8, 28, 56, 36))
    image.paste((255, 0, 0), (8, 28, 20, 36))
    mask = np.asarray(image.convert("L")) < 250
    widths, sides = set(), set()
    for seed in range(40):
        settings = TransformSettings(jitter_p=0.0, flip_p=0.5, erase_p=0.0)
        view = np.asarray(reference_view(image, mask, settings, size=64, rng=np.random.default_rng(seed)))
        dark = np.flatnonzero((view.sum(axis=-1) < 200).any(axis=0))
        red = np.flatnonzero(((view[..., 0] > 200) & (view[..., 1] < 60)).any(axis=0))
        assert len(dark) > 8 and len(red) > 2, "a part of the subject is outside of the frame"
        assert 1.5 < len(dark) / len(red) < 7
        widths.add(len(dark))
        sides.add(bool(red.mean() < dark.mean()))
    assert sides == {True, False} and max(widths) - min(widths) > 5
