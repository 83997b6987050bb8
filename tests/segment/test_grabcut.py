"""GrabCut against known outlines: shapes rendered on plain, shaded and textured grounds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from dreamcache.segment.grabcut import GrabCutSegmenter

SIZE = (260, 200)
GROUNDS = ["white", "black", "grey with noise", "falling light"]
SUBJECTS = ["blue ellipse", "striped box", "white with outline", "off-white", "pair", "at the edge"]


def ground(name: str) -> np.ndarray:
    width, height = SIZE
    random = np.random.default_rng(1)
    if name == "white":
        return np.full((height, width, 3), 255.0)
    if name == "black":
        return np.full((height, width, 3), 8.0)
    if name == "grey with noise":
        return 190 + random.normal(0, 2.5, (height, width, 3))
    if name == "falling light":
        return np.linspace(245, 195, height)[:, None, None] + random.normal(0, 1.0, (height, width, 3))
    coarse = random.normal(0, 1, (height, width, 3))
    grass = cv2.GaussianBlur(coarse, (0, 0), 2.0)
    return np.array([70.0, 120.0, 50.0]) + grass / grass.std() * 22


def subject(name: str) -> tuple[Image.Image, np.ndarray]:
    """Colours [H, W, 3] and the true mask."""
    colours = Image.new("RGB", SIZE)
    shape = Image.new("L", SIZE)
    draw, cut = ImageDraw.Draw(colours), ImageDraw.Draw(shape)
    box = (70, 40, 190, 160)
    if name == "striped box":
        draw.rectangle(box, fill=(200, 40, 30))
        for x in range(75, 190, 20):
            draw.rectangle((x, 40, x + 8, 160), fill=(250, 250, 250))
        cut.rectangle(box, fill=255)
    elif name == "white with outline":
        draw.ellipse(box, fill=(252, 252, 252), outline=(150, 150, 150), width=2)
        draw.text((110, 90), "label", fill=(20, 20, 20))
        cut.ellipse(box, fill=255)
    elif name == "off-white":
        draw.rectangle(box, fill=(232, 230, 224))
        cut.rectangle(box, fill=255)
    elif name == "pair":
        for left in (30, 150):
            draw.ellipse((left, 60, left + 70, 150), fill=(120, 60, 20))
            cut.ellipse((left, 60, left + 70, 150), fill=255)
    elif name == "at the edge":
        draw.rectangle((80, 60, 170, 200), fill=(90, 20, 120))
        cut.rectangle((80, 60, 170, 200), fill=255)
    else:
        draw.ellipse(box, fill=(30, 60, 160))
        cut.ellipse(box, fill=255)
    return colours, np.asarray(shape) > 127


def scene(what: str, where: str) -> tuple[Image.Image, np.ndarray]:
    colours, truth = subject(what)
    soft = np.asarray(Image.fromarray(np.uint8(truth) * 255).filter(ImageFilter.GaussianBlur(0.7))) / 255.0
    pixels = ground(where) * (1 - soft[..., None]) + np.asarray(colours) * soft[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), truth


def iou(found: np.ndarray | None, truth: np.ndarray) -> float:
    return 0.0 if found is None else float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("where", GROUNDS)
@pytest.mark.parametrize("what", SUBJECTS)
def test_plain_grounds(what: str, where: str) -> None:
    image, truth = scene(what, where)
    overlap = iou(GrabCutSegmenter()(image).mask, truth)
    print(f"{what} on {where}: IoU {overlap:.3f}")
    assert overlap >= 0.85


def test_textured_ground() -> None:
    for what in ("blue ellipse", "striped box", "white with outline", "at the edge"):
        image, truth = scene(what, "grass")
        overlap = iou(GrabCutSegmenter()(image).mask, truth)
        print(f"{what} on grass: IoU {overlap:.3f}")
        assert overlap >= 0.7


def test_a_soft_shadow_is_not_the_subject() -> None:
    image, truth = scene("blue ellipse", "white")
    shade = Image.new("L", SIZE)
    ImageDraw.Draw(shade).ellipse((60, 140, 230, 180), fill=30)
    dark = np.asarray(shade.filter(ImageFilter.GaussianBlur(10))).astype(float)[..., None]
    pixels = np.where(truth[..., None], np.asarray(image), np.clip(np.asarray(image) - dark, 0, 255))
    assert iou(GrabCutSegmenter()(Image.fromarray(pixels.astype(np.uint8))).mask, truth) >= 0.9


def test_same_photo_same_mask_and_full_size() -> None:
    image, truth = scene("striped box", "grass")
    large = image.resize((1040, 800), Image.Resampling.BICUBIC)
    first, again = (GrabCutSegmenter()(large).mask for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.shape == (800, 1040)
    assert np.array_equal(first, again)
    grown = np.kron(truth, np.ones((4, 4), dtype=np.bool_))
    assert iou(first, grown) >= 0.7


@pytest.mark.parametrize("size", [(8, 8), (300, 8), (64, 64)])
def test_an_empty_photo_has_no_subject(size: tuple[int, int]) -> None:
    assert GrabCutSegmenter()(Image.new("RGB", size, "white")).reason == "too_little_left"


def test_odd_photos_do_not_raise() -> None:
    random = np.random.default_rng(2)
    for height, width in ((8, 8), (9, 200), (120, 90)):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        segment = GrabCutSegmenter()(Image.fromarray(pixels))
        assert segment.mask is None or segment.mask.shape == (height, width)
