"""Rendered products with print, in poses and scenes, and the changes that a truth gate must notice.

    product(seed) -> Product --picture(product, pose, change)--> pixels and exact mask

Procedural: shapes, colours and words come from the seed alone. Knows fonts and pixels; nothing of the gate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dreamcache.evaluation.truth.ciede2000 import ciede2000, lab_of
from dreamcache.mini.world.scenes import SCENES, render_scene

SIDE = 512
SHAPES = ("box", "can", "bottle", "pouch")
CONSONANTS, VOWELS = "BDFGKLMNPRSTVZ", "AEIOU"
FONTS = ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf")
Change = Literal["none", "letter", "colour", "main colour", "missing", "blurred", "blank"]
RGB = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """One pack: its shape, three colours, three lines of print."""

    seed: int
    shape: str
    main: RGB
    panel: RGB
    ink: RGB
    words: tuple[str, str, str]
    font: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """How a product is shown. size: its height, of the frame. light: factor of all its pixels. scene: None is white."""

    size: float = 0.86
    turn: float = 0.0
    x: float = 0.5
    y: float = 0.5
    light: float = 1.0
    scene: str | None = None
    seed: int = 0


def product(seed: int) -> Product:
    """The product of a seed; its panel and print always contrast."""
    rng = np.random.default_rng((seed, 0x7217))
    main = _colour(rng, 30, 75, 25, 60)
    panel = _colour(rng, 88, 97, 0, 12) if rng.random() < 0.6 else _colour(rng, 12, 25, 0, 20)
    dark = float(lab_of(np.array([panel], np.uint8))[0, 0]) > 50
    ink = _colour(rng, 10, 25, 0, 40) if dark else _colour(rng, 85, 96, 0, 20)
    return Product(
        seed=seed,
        shape=SHAPES[int(rng.integers(len(SHAPES)))],
        main=main,
        panel=panel,
        ink=ink,
        words=(_word(rng, 6, 9), _word(rng, 5, 8).lower(), f"{int(rng.integers(10, 99)) * 10}ml"),
        font=FONTS[int(rng.integers(len(FONTS)))],
    )


def shot(seed: int) -> Shot:
    """A pose and scene as a generated image has them: up to 6 degrees, 62-80 % of the frame, 3 % of light."""
    rng = np.random.default_rng((seed, 0x5107))
    return Shot(
        size=float(rng.uniform(0.62, 0.8)),
        turn=float(rng.uniform(-6, 6)),
        x=float(rng.uniform(0.45, 0.55)),
        y=float(rng.uniform(0.48, 0.52)),
        light=float(rng.uniform(0.97, 1.03)),
        scene=SCENES[int(rng.integers(len(SCENES)))],
        seed=seed,
    )


def with_another_letter(one: Product, rng: np.random.Generator) -> Product:
    """One letter of one of the first two words is another consonant or vowel."""
    number = int(rng.integers(2))
    word = one.words[number]
    place = int(rng.integers(len(word)))
    letters = CONSONANTS + VOWELS
    options = [letter for letter in letters if letter != word[place].upper()]
    letter = options[int(rng.integers(len(options)))]
    changed = word[:place] + (letter if word.isupper() else letter.lower()) + word[place + 1 :]
    words = list(one.words)
    words[number] = changed
    return replace(one, words=(words[0], words[1], words[2]))


def picture(one: Product, how: Shot, change: Change = "none") -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(uint8 [SIDE, SIDE, 3], mask of the object) with the change's amount taken from the shot's seed."""
    rng = np.random.default_rng((how.seed, one.seed, 0xC4A6))
    if change == "letter":
        one = with_another_letter(one, rng)
    if change == "main colour":
        red, green, blue = _shifted(np.array([[one.main]], np.uint8), rng)[0, 0].tolist()
        one = replace(one, main=(red, green, blue))
    ground = np.full((SIDE, SIDE, 3), 255.0)
    if how.scene is not None:
        ground = _scene(how.scene, how.seed)
    if change == "blank":
        return np.full((SIDE, SIDE, 3), round(float(ground.mean())), np.uint8), np.zeros((SIDE, SIDE), bool)
    pack, alpha = _pack(one)
    if change == "colour":
        pack = _shifted(pack, rng)
    if change == "missing":
        alpha = _bitten(alpha, rng)
    if change == "blurred":
        pack = cv2.GaussianBlur(pack, (0, 0), 0.035 * SIDE)
    return _placed(pack, alpha, how, ground, rng)


def _placed(
    pack: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    how: Shot,
    ground: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    side = pack.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), how.turn, how.size * SIDE / side)
    matrix[:, 2] += np.array([how.x, how.y]) * SIDE - side / 2
    lit = np.clip(pack * how.light, 0, 255).astype(np.float32)
    layer = cv2.warpAffine(lit, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(alpha.astype(np.float32) / 255, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA)
    mixed = ground * (1 - share[..., None]) + layer * share[..., None]
    noisy = mixed + rng.normal(0, 1.5, mixed.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8), share >= 0.5


def _pack(one: Product) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(pixels, alpha) of the product alone, upright, as high as its square canvas."""
    side = 2 * SIDE
    image, alpha = Image.new("RGB", (side, side), one.main), Image.new("L", (side, side), 0)
    left, right = (0.24, 0.76) if one.shape != "bottle" else (0.28, 0.72)
    x0, x1 = left * side, right * side
    outline = ImageDraw.Draw(alpha)
    match one.shape:
        case "box":
            outline.rectangle((x0, 0, x1, side), fill=255)
        case "can":
            outline.rounded_rectangle((x0, 0, x1, side), 0.09 * side, fill=255)
        case "bottle":
            outline.rounded_rectangle((x0, 0.26 * side, x1, side), 0.06 * side, fill=255)
            outline.rectangle((0.42 * side, 0, 0.58 * side, 0.3 * side), fill=255)
        case _:
            outline.polygon([(x0 + 0.04 * side, 0), (x1 - 0.04 * side, 0), (x1, side), (x0, side)], fill=255)
    ink = ImageDraw.Draw(image)
    ink.rectangle((x0, 0.36 * side, x1, 0.8 * side), fill=one.panel)
    for word, top, height in zip(one.words, (0.41, 0.56, 0.69), (0.1, 0.08, 0.06), strict=True):
        _write(ink, word, (x0 + 0.05 * side, x1 - 0.05 * side), top * side, height * side, one)
    shade = 1.03 - 0.28 * np.abs(np.linspace(-1, 1, side)) ** 2.5 if one.shape in ("can", "bottle") else 1.0
    pixels = np.asarray(image) * np.broadcast_to(np.reshape(shade, (1, -1, 1)), (side, side, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), np.asarray(alpha)


def _write(
    ink: ImageDraw.ImageDraw, word: str, span: tuple[float, float], top: float, height: float, one: Product
) -> None:
    """The word in the middle of its span, smaller where it is too long."""
    font = _font(one.font, round(height))
    width = ink.textlength(word, font=font)
    if width > span[1] - span[0]:
        font = _font(one.font, round(height * (span[1] - span[0]) / width))
        width = ink.textlength(word, font=font)
    ink.text(((span[0] + span[1] - width) / 2, top), word, font=font, fill=one.ink)


@lru_cache(maxsize=2)
def _scene(name: str, seed: int) -> NDArray[np.float64]:
    return np.asarray(render_scene(name, seed, SIDE), np.float64)


@lru_cache(maxsize=256)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return ImageFont.load_default(size)  # Pillow's own, where the machine has no such font


def _word(rng: np.random.Generator, shortest: int, longest: int) -> str:
    """A word that can be spoken, of so many letters."""
    pairs = (longest + 1) // 2 + 1
    letters = "".join(rng.choice(list(CONSONANTS)) + rng.choice(list(VOWELS)) for _ in range(pairs))
    return letters[: int(rng.integers(shortest, longest + 1))]


def _colour(rng: np.random.Generator, dark: float, light: float, grey: float, strong: float) -> RGB:
    """A colour that sRGB has, of this lightness and chroma."""
    while True:
        lightness, chroma, hue = (
            rng.uniform(dark, light),
            rng.uniform(grey, strong),
            rng.uniform(0, 2 * np.pi),
        )
        lab = np.array([[[lightness, chroma * np.cos(hue), chroma * np.sin(hue)]]], np.float32)
        rgb = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[0, 0] * 255
        if np.abs(lab_of(np.round(rgb).astype(np.uint8)[None])[0] - lab[0, 0]).max() < 1.5:
            red, green, blue = (int(value) for value in np.round(rgb))
            return red, green, blue


def _shifted(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """All pixels moved in Lab by one vector, so that the commonest colour moves by a CIEDE2000 of 5 to 10."""
    wanted = float(rng.uniform(5, 10))
    flat = pixels.reshape(-1, 3)
    colours, counts = np.unique(flat[:: max(1, len(flat) // 20000)], axis=0, return_counts=True)
    common = colours[counts.argmax()][None]
    start = lab_of(common)
    lab = cv2.cvtColor((pixels / np.float32(255)).astype(np.float32), cv2.COLOR_RGB2Lab)
    best: tuple[float, NDArray[np.float64]] = (np.inf, np.zeros(3))
    for _ in range(400):
        vector = rng.normal(0, 1, 3) * (0.6, 1.0, 1.0)
        vector *= rng.uniform(4, 22) / np.linalg.norm(vector)
        moved = cv2.cvtColor((start + vector)[None].astype(np.float32), cv2.COLOR_Lab2RGB)[0]
        reached = lab_of(np.clip(np.round(moved * 255), 0, 255).astype(np.uint8))
        miss = abs(float(ciede2000(start, reached)[0]) - wanted)
        if miss < best[0]:
            best = miss, vector
    out = cv2.cvtColor((lab + best[1]).astype(np.float32), cv2.COLOR_Lab2RGB) * 255
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def _bitten(alpha: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Without a tenth of the object's area: a corner, a side, the top or the bottom."""
    rows, columns = np.nonzero(alpha)
    turn = float(rng.uniform(0, 2 * np.pi))
    depth = rows * np.sin(turn) + columns * np.cos(turn)
    cut = depth > np.quantile(depth, 0.9)
    out = alpha.copy()
    out[rows[cut], columns[cut]] = 0
    return out
