"""Masks as tools write them. A good input marks the same box, `BOX` of a photo of SIZE."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.corpus.kind import USED, Kind, Write, file_of
from tests.corpus.pictures import exif_of, good, jpeg_of_scans, png, saved

SIZE = (64, 48)
BOX = (slice(10, 30), slice(12, 50))
TRUTH = np.zeros(SIZE[::-1], dtype=bool)
TRUTH[BOX] = True


def greys(
    background: int, subject: int | Sequence[int], *, void: int | None = None, dtype: Any = np.uint8
) -> np.ndarray:
    """[H, W]: the box in one value, or in stripes of several; void: at the upper border."""
    values = np.full(SIZE[::-1], background, dtype=dtype)
    stripes = [subject] if isinstance(subject, int) else list(subject)
    width = BOX[1].stop - BOX[1].start
    for number, value in enumerate(stripes):
        start = BOX[1].start + width * number // len(stripes)
        values[BOX[0], start : BOX[1].stop] = value
    if void is not None:
        values[:3] = void
    return values


def grey(*arguments: Any, kind: str = "PNG", mode: str | None = None, **options: Any) -> Write:
    def build() -> bytes:
        image = Image.fromarray(greys(*arguments, **options))
        return saved(image.convert(mode) if mode else image, kind)

    return file_of("mask.png", build)


def palette(
    colours: Sequence[tuple[int, int, int]], *arguments: Any, kind: str = "PNG", **options: Any
) -> Write:
    """The values as indices of these colours."""

    def build() -> bytes:
        image = Image.fromarray(greys(*arguments, **options), "P")
        image.putpalette([part for colour in colours for part in colour])
        return saved(image, kind)

    return file_of("mask.png", build)


def picture(build: Callable[[], Image.Image], kind: str = "PNG", **options: Any) -> Write:
    return file_of("mask.png", lambda: saved(build(), kind, **options))


def painted(background: Any, *stripes: Any, mode: str = "RGB") -> Callable[[], Image.Image]:
    def build() -> Image.Image:
        image = Image.new(mode, SIZE, background)
        width = (BOX[1].stop - BOX[1].start) // len(stripes)
        for number, colour in enumerate(stripes):
            left = BOX[1].start + number * width
            image.paste(colour, (left, BOX[0].start, BOX[1].stop, BOX[0].stop))
        return image

    return build


VOC = (
    [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    + [(n, n // 2, 9) for n in range(4, 255)]
    + [(224, 224, 192)]
)

KINDS = [
    Kind(
        name="mask/two-values",
        door="mask",
        code=USED,
        exit_code=0,
        inputs={
            "0 and 255": grey(0, 255),
            "0 and 1": grey(0, 1),
            "0 and 128": grey(0, 128),
            "3 and 7": grey(3, 7),
            "one bit": grey(0, 255, mode="1"),
            "colour": grey(0, 255, mode="RGB"),
            "16 bit": grey(0, 65535, dtype=np.uint16),
            "16 bit labels": grey(0, 1, dtype=np.uint16),
            "32 bit labels": grey(0, 1, dtype=np.int32, kind="TIFF"),
            "float": grey(0, 1, dtype=np.float32, kind="TIFF"),
            "bmp": grey(0, 255, kind="BMP"),
            "gif": grey(0, 255, kind="GIF"),
            "webp": picture(painted("black", "white"), "WEBP", lossless=True),
            "jpeg": picture(painted("black", "white"), "JPEG", quality=95),
            "palette": palette([(0, 0, 0), (128, 0, 0)], 0, 1),
            "palette, white first": palette([(255, 255, 255), (0, 0, 0)], 1, 0),
            "two colours": picture(painted((0, 0, 60), (200, 60, 60))),
        },
    ),
    Kind(
        name="mask/class-indices",
        door="mask",
        code=USED,
        exit_code=0,
        inputs={
            "0, 1, 2": grey(0, (1, 2)),
            "0 to 5": grey(0, (1, 2, 3, 4, 5)),
            "COCO's numbers": grey(0, (44, 47, 90)),
            "16 bit": grey(0, (1, 2), dtype=np.uint16),
            "32 bit": grey(0, (1, 2, 17), dtype=np.int32, kind="TIFF"),
            "palette of Pascal VOC": palette(VOC, 0, (1, 2, 3)),
            "palette, gif": palette(VOC, 0, (1, 2, 3), kind="GIF"),
            "palette, bmp": palette(VOC, 0, (1, 2), kind="BMP"),
            "tiff": grey(0, (1, 2, 3), kind="TIFF"),
            "in colour": grey(0, (1, 2), mode="RGB"),
        },
    ),
    Kind(
        name="mask/void",
        door="mask",
        code=USED,
        exit_code=0,
        inputs={
            "0, 1 and 255": grey(0, 1, void=255),
            "0, 1, 2 and 255": grey(0, (1, 2), void=255),
            "0, 20 and 255": grey(0, 20, void=255),
            "0 to 5 and 255": grey(0, (1, 2, 3, 4, 5), void=255),
            "16 bit": grey(0, (1, 2), void=255, dtype=np.uint16),
            "32 bit": grey(0, 1, void=255, dtype=np.int32, kind="TIFF"),
            "palette of Pascal VOC": palette(VOC, 0, (1, 2), void=255),
            "palette of one class": palette(VOC, 0, 1, void=255),
            "bmp": grey(0, (3, 4), void=255, kind="BMP"),
        },
    ),
    Kind(
        name="mask/alpha",
        door="mask",
        code=USED,
        exit_code=0,
        inputs={
            "colour on transparency": picture(painted((0, 0, 0, 0), (200, 30, 30, 255), mode="RGBA")),
            "black on transparency": picture(painted((0, 0, 0, 0), (0, 0, 0, 255), mode="RGBA")),
            "white on transparency": picture(painted((0, 0, 0, 0), (255, 255, 255, 255), mode="RGBA")),
            "grey and alpha": picture(painted((0, 0), (90, 255), mode="LA")),
            "opaque": picture(painted((0, 0, 0, 255), (255, 255, 255, 255), mode="RGBA")),
            "webp": picture(painted((0, 0, 0, 0), (200, 30, 30, 255), mode="RGBA"), "WEBP", lossless=True),
            "tiff": picture(painted((0, 0, 0, 0), (200, 30, 30, 255), mode="RGBA"), "TIFF"),
            "half transparent": picture(painted((0, 0, 0, 0), (200, 30, 30, 200), mode="RGBA")),
        },
    ),
    Kind(
        name="mask/empty",
        door="mask",
        code="empty_mask",
        inputs={
            "black": picture(lambda: Image.new("L", SIZE)),
            "black in colour": picture(lambda: Image.new("RGB", SIZE)),
            "black, one bit": picture(lambda: Image.new("1", SIZE)),
            "black, 16 bit": picture(lambda: Image.fromarray(np.zeros(SIZE[::-1], np.uint16))),
            "black, float": picture(lambda: Image.fromarray(np.zeros(SIZE[::-1], np.float32)), "TIFF"),
            "black, jpeg": picture(lambda: Image.new("L", SIZE), "JPEG"),
            "dark, jpeg": picture(painted(5, 60, 90, mode="L"), "JPEG"),
            "transparent": picture(lambda: Image.new("RGBA", SIZE)),
            "transparent white": picture(lambda: Image.new("RGBA", SIZE, (255, 255, 255, 0))),
            "black, opaque": grey(0, (0, 0, 0), mode="RGBA"),
            "NaN": picture(lambda: Image.fromarray(np.full(SIZE[::-1], np.nan, np.float32)), "TIFF"),
        },
    ),
    Kind(
        name="mask/colours",
        door="mask",
        code="bad_mask",
        inputs={
            "red, green, blue": picture(painted("black", "red", "lime", "blue")),
            "on white": picture(painted("white", "red", "lime")),
            "without background": picture(painted("yellow", "red", "lime")),
            "many": picture(painted("black", *[(40 * n, 255 - 40 * n, 90) for n in range(6)])),
            "bmp": picture(painted("black", "red", "lime"), "BMP"),
            "tiff": picture(painted("black", "red", "lime"), "TIFF"),
            "opaque alpha": picture(painted((0, 0, 0, 255), (255, 0, 0, 255), (0, 255, 0, 255), mode="RGBA")),
            "a drawing": picture(painted("black", "orange", "navy", "white")),
        },
    ),
    Kind(
        name="mask/other-size",
        door="mask",
        code="mask_size_mismatch",
        inputs={
            f"{width}x{height}": picture((lambda w, h: lambda: Image.new("L", (w, h), 255))(width, height))
            for width, height in (
                (48, 64),
                (63, 48),
                (64, 47),
                (128, 96),
                (32, 24),
                (8, 8),
                (1000, 8),
                (64, 49),
            )
        }
        | {"turned by its EXIF": picture(painted(0, 255, mode="L"), "JPEG", exif=b"Exif\0\0" + exif_of(6))},
    ),
    Kind(
        name="mask/no-mask",
        door="mask",
        code="not_an_image",
        inputs={
            "text": file_of("mask.png", b"a mask"),
            "html": file_of("mask.png", b"<!doctype html><p>404"),
            "zeros": file_of("mask.png", bytes(3072)),
            "numpy": file_of("mask.npy", b"\x93NUMPY\1\0v\0{'descr': '|u1'}"),
            "json": file_of("mask.json", b'{"size": [48, 64], "counts": "abc"}'),
            "pickle": file_of("mask.pkl", b"\x80\4\x95\x0b\0\0\0\0\0\0\0\x8c\2os"),
            "archive": file_of("mask.zip", b"PK\3\4" + bytes(60)),
            "pdf": file_of("mask.pdf", b"%PDF-1.7"),
        },
    ),
    Kind(
        name="mask/no-file",
        door="mask",
        code="not_a_file",
        s3=False,
        inputs={
            **{
                device: (lambda path: lambda folder: path)(device)
                for device in ("/dev/zero", "/dev/full", "/dev/null", "/dev/random")
            },
            "pipe": lambda folder: (os.mkfifo(folder / "mask"), "mask")[1],
            "a link to a device": lambda folder: ((folder / "mask").symlink_to("/dev/zero"), "mask")[1],
            "a kernel file": lambda folder: "/proc/self/status",
            "mounts": lambda folder: "/proc/self/mountinfo",
        },
    ),
    Kind(
        name="mask/bomb",
        door="mask",
        code="too_complex",
        inputs={
            f"{scans} scans of {side}": file_of(
                "mask.jpg", (lambda s, n: lambda: jpeg_of_scans(s, s, n, "L"))(side, scans)
            )
            for side, scans in (
                (64, 101),
                (100, 500),
                (300, 1000),
                (1000, 200),
                (2000, 150),
                (64, 2000),
                (500, 400),
                (800, 120),
            )
        },
    ),
    Kind(
        name="mask/too-large",
        door="mask",
        code="too_large",
        inputs={
            **{
                f"{width}x{height}": file_of(
                    "mask.png", (lambda w, h: lambda: png(w, h, rows=False))(width, height)
                )
                for width, height in (
                    (8_000, 8_000),
                    (20_000, 20_000),
                    (2**31 - 1, 9),
                    (60_000_000, 8),
                    (10_000, 5_001),
                    (2**30, 2**30),
                )
            },
            "6 GB": lambda folder: _sparse(folder / "mask", 6 << 30),
            "1 TB": lambda folder: _sparse(folder / "mask", 1 << 40, good("PNG")),
        },
        s3=False,
    ),
]


def _sparse(path: Path, num_bytes: int, head: bytes = b"") -> str:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(num_bytes)
    return path.name
