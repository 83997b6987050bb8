"""Photos within every limit that cost much: each in a process of its own, with bounds on its time and memory."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.images import decode_image, decode_mask
from dreamcache.storage.photos import read_photo
from jobs.gallery import Scaler, make_thumbnail
from tests.corpus.measure import BYTES, SECONDS, measured
from tests.corpus.pictures import bmp_of_runs, grey_tiff, jpeg_of_scans, png, saved

pytestmark = [pytest.mark.slow]

LIMITS = ImageLimits()
SIDE = (7_000, 7_000)


def tiff_of(values: np.ndarray, **options: object) -> bytes:
    return saved(Image.fromarray(values), "TIFF", **options)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png of 8 bits": lambda: png(*SIDE),
    "png of 16-bit grey": lambda: png(*SIDE, depth=16, colour=0),
    "png of 16-bit colour": lambda: png(*SIDE, depth=16, colour=2),
    "png of 16-bit grey and alpha": lambda: png(*SIDE, depth=16, colour=4),
    "png of a palette": lambda: png(*SIDE, colour=3),
    "png interlaced": lambda: png(*SIDE, depth=16, colour=0, interlaced=True),
    "one column": lambda: png(8, 6_200_000, depth=8, colour=0),
    "tiff of floats": lambda: grey_tiff(*SIDE, bits=32, sample_format=3),
    "tiff of integers": lambda: grey_tiff(*SIDE, bits=32, sample_format=2),
    "tiff of 16 bits": lambda: grey_tiff(*SIDE, bits=16),
    "tiff of floats, lzw": lambda: tiff_of(np.zeros(SIDE, np.float32), compression="tiff_lzw"),
    "jpeg of 10 scans": lambda: jpeg_of_scans(*SIDE, 4),
    "jpeg of 90 scans": lambda: jpeg_of_scans(3_300, 3_300, 75),
    "jpeg of 4000 scans": lambda: jpeg_of_scans(2_000, 2_000, 4_000),
    "jpeg in cmyk": lambda: saved(Image.new("CMYK", SIDE), "JPEG", progressive=True),
    "gif": lambda: saved(Image.new("P", SIDE), "GIF"),
    "webp without loss": lambda: saved(Image.new("RGB", SIDE), "WEBP", lossless=True, method=0),
    "webp": lambda: saved(Image.new("RGB", SIDE), "WEBP", method=0),
    "bmp of runs": lambda: bmp_of_runs(*SIDE, (b"\xff\1" * 27 + b"\x73\1\0\0") * 7_000),
    "bmp of short runs": lambda: bmp_of_runs(*SIDE, b"\1\1" * (2 << 20)),
}


def decode(data: bytes) -> None:
    assert min(decode_image(data, where="bomb", limits=LIMITS).size) >= 8


def decode_as_mask(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        size = image.size
    decode_mask(data, where="bomb", limits=LIMITS, size=size)


def scale(data: bytes) -> None:
    make_thumbnail(data)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("action", [decode, decode_as_mask, scale])
def test_a_bomb_costs_little(name: str, action: Callable[[bytes], None]) -> None:
    data = BOMBS[name]()
    assert len(data) < LIMITS.max_bytes
    cost = measured(action, data)
    print(f"{action.__name__} {name}: {len(data):,} bytes, {cost}")
    assert cost.seconds < SECONDS, cost
    assert cost.peak < BYTES, cost
    assert cost.code in ("", "too_complex", "empty_mask", "truncated_image", "transparent_image"), cost


def scale_16(folder: str) -> None:
    from dreamcache.core.parallel import map_ordered

    with Scaler() as scaler:

        def thumbnail(number: int) -> bytes | None:
            data = read_photo(f"{folder}/{number}.png", "bomb", LIMITS)
            return make_thumbnail(data, limits=LIMITS, run=scaler.run)

        assert all(map_ordered(thumbnail, range(16), threads=16))


def test_16_bombs_at_once_cost_no_more_than_one(tmp_path: Path) -> None:
    data = png(*SIDE, depth=16, colour=0)
    for number in range(16):
        (tmp_path / f"{number}.png").write_bytes(data)
    cost = measured(scale_16, str(tmp_path))
    print(cost)
    assert not cost.code, cost
    assert cost.peak < BYTES, cost


def test_a_bomb_of_metadata_costs_little() -> None:
    from tests.corpus.pictures import chunk, png_with

    packed = zlib.compress(bytes(1 << 30), 9)
    data = png_with(chunk(b"iCCP", b"icc\0\0" + packed), *[chunk(b"zTXt", b"C\0\0" + packed)] * 40)
    cost = measured(decode, data)
    assert not cost.code, cost
    assert cost.seconds < 2 and cost.peak < 200 << 20, cost
