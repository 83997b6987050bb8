"""Catalog photos, good and bad: files of every kind that a catalog team sends."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLUMNS = ("subject_id", "image", "class_name", "prompts")


def picture(number: int = 0) -> Image.Image:
    """A drawing in four colours, 64 x 48, another for every number."""
    rng = np.random.default_rng(number)
    colours = [tuple(int(value) for value in colour) for colour in rng.integers(0, 256, (3, 3))]
    image = Image.new("RGB", (64, 48), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((8, 8, 40, 40), fill=colours[0])
    draw.ellipse((20, 12, 56, 36), fill=colours[1])
    draw.line((8, 40, 60, 10), fill=colours[2], width=4)
    return image


def write_catalog(folder: Path, rows: Sequence[Mapping[str, str]]) -> str:
    """Writes catalog.csv and returns its path; columns a row lacks stay empty."""
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def write_photos(folder: Path, count: int) -> list[dict[str, str]]:
    """Writes `count` good photos; returns their catalog rows."""
    names = [f"p{number}" for number in range(count)]
    for number, name in enumerate(names):
        picture(number).save(folder / f"{name}.png")
    return [{"subject_id": name, "image": f"{name}.png", "class_name": "mug"} for name in names]


def write_strange_photos(folder: Path) -> None:
    """Unusual but sound files, each of `picture()`'s pixels where its format can hold them."""
    plain = picture()
    plain.save(folder / "plain.png")
    plain.convert("CMYK").save(folder / "cmyk.jpg")
    grey = np.asarray(plain.convert("L"))
    Image.fromarray(grey).save(folder / "8-bit.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "16-bit.png")
    palette = plain.quantize(4, dither=Image.Dither.NONE)
    assert np.array_equal(np.asarray(palette.convert("RGB")), np.asarray(plain))
    palette.save(folder / "palette.png")
    frames = [picture(1), picture(2)]
    plain.save(folder / "animated.gif", save_all=True, append_images=frames)
    plain.save(folder / "animated.webp", save_all=True, append_images=frames, lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    plain.transpose(Image.Transpose.ROTATE_90).save(folder / "rotated.png", exif=turned.tobytes())


def write_broken_photos(folder: Path) -> None:
    """Files that cannot be used."""
    (folder / "zero.png").write_bytes(b"")
    picture().save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:-200])
    (folder / "text.png").write_text("the photo is on the other drive")
    Image.new("RGB", (1, 1)).save(folder / "1x1.png")
    Image.new("1", (20_000, 20_000)).save(folder / "20000x20000.png")
