"""Builders of picture files, good and bad, from nothing but Pillow, zlib and struct."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def photo(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A gradient with a dark box, so that no two regions are alike."""
    across = np.linspace(40, 250, width, dtype=np.uint8)
    pixels = np.stack(
        [np.tile(across, (height, 1)), *(np.full((height, width), n, np.uint8) for n in (90, 160))], -1
    )
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 20
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def good(kind: str, **options: Any) -> bytes:
    return saved(photo(), kind, **options)


def chunk(kind: bytes, body: bytes, checksum: bytes | None = None) -> bytes:
    sound = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + (sound if checksum is None else checksum)


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False, rows: bool = True
) -> bytes:
    """A PNG of zeros, packed by hand: any size at little cost. rows: False states the size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer, packed = zlib.compressobj(1), []
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    for left, top, across, down in passes if rows else ():
        columns = -(-(width - left) // across)
        for _ in range(-(-(height - top) // down) if columns > 0 else 0):
            packed.append(packer.compress(bytes(1 + -(-columns * channels * depth // 8))))
    packed.append(packer.flush())
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    return (
        PNG_SIGNATURE
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", b"".join(packed))
        + chunk(b"IEND", b"")
    )


def png_with(*chunks: bytes, image: Image.Image | None = None) -> bytes:
    """A good PNG with these chunks behind its header."""
    data = saved(image or photo(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def exif_bomb(order: str = "<", entries: int = 60_000, payload: int = 1 << 20) -> bytes:
    """Many tags that all point at the same bytes."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", 8)
    body = b"".join(struct.pack(f"{order}HHLL", 1 + tag, 7, payload, 8) for tag in range(entries))
    return head + struct.pack(f"{order}H", entries) + body + bytes(4) + bytes(payload)


def exif_of(turn: int, order: str = "<") -> bytes:
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", 8)
    return head + struct.pack(f"{order}HHHLHH", 1, 0x0112, 3, 1, turn, 0) + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*segments: bytes, **options: Any) -> bytes:
    data = good("JPEG", **options)
    return data[:2] + b"".join(segments) + data[2:]


def jpeg_of_scans(width: int, height: int, scans: int, mode: str = "RGB") -> bytes:
    """A progressive JPEG of one colour whose last scan is repeated."""
    data = saved(
        Image.new(mode, (width, height), 90 if mode == "L" else (200, 40, 90)), "JPEG", progressive=True
    )
    last = data.rfind(b"\xff\xda")
    tables = data.rfind(b"\xff\xc4", data.rfind(b"\xff\xda", 0, last), last)
    again = data[tables if tables > 0 else last : -2]
    return data[:-2] + again * scans + data[-2:]


Tag = tuple[int, int, int | Sequence[int]]


def tiff(
    tags: Sequence[Tag],
    content: bytes = b"",
    *,
    raw: Sequence[bytes] = (),
    order: str = "<",
    next_page: int = 0,
) -> bytes:
    """A TIFF of these (tag, type 3 or 4, values), `content` at offset 8. raw: entries of 12 bytes, as they are."""
    entries, extra = [], b""
    table = 8 + len(content) + len(content) % 2
    beyond = table + 2 + 12 * (len(tags) + len(raw)) + 4
    for tag, kind, values in tags:
        numbers = [values] if isinstance(values, int) else list(values)
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'L'}", *numbers)
        if len(packed) > 4:
            where = struct.pack(f"{order}L", beyond + len(extra))
            extra += packed
            packed = where
        entries.append((tag, struct.pack(f"{order}HHL", tag, kind, len(numbers)) + packed.ljust(4, b"\0")))
    ordered = [entry for _, entry in sorted(entries)] + list(raw)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", table)
    body = struct.pack(f"{order}H", len(ordered)) + b"".join(ordered) + struct.pack(f"{order}L", next_page)
    return head + content + bytes(len(content) % 2) + body + extra


def grey_tiff(
    width: int, height: int, *, bits: int = 8, sample_format: int = 1, packed: bytes | None = None
) -> bytes:
    """A page in one strip, deflated zeros if `packed` is None."""
    content = packed if packed is not None else zlib.compress(bytes(width * height * bits // 8), 1)
    return tiff([
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 8), (262, 3, 1), (273, 4, 8), (277, 3, 1),
        (278, 4, height), (279, 4, len(content)), (339, 3, sample_format),
    ], content)  # fmt: skip


def gif_blocks(count: int, body: bytes = b"x") -> bytes:
    """A good GIF with a comment of so many blocks in front of its picture."""
    data = good("GIF")
    flags = data[10]
    start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    comment = b"!\xfe" + (bytes((len(body),)) + body) * count + b"\0"
    return data[:start] + comment + data[start:]


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    palette = bytes(n for value in range(256) for n in (value, value // 2, value, 0))
    offset = 54 + len(palette)
    head = struct.pack("<LLHHLLLLLL", width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return (
        b"BM"
        + struct.pack("<LLL", offset + len(runs), 0, offset)
        + struct.pack("<L", 40)
        + head
        + palette
        + runs
    )


def frames(kind: str, count: int, size: tuple[int, int] = (16, 16)) -> bytes:
    pictures = [Image.new("RGB", size, (n % 256, n // 256 % 256, 50)) for n in range(count)]
    return saved(pictures[0], kind, save_all=True, append_images=pictures[1:])


def cut(kind: str, share: float, **options: Any) -> Callable[[], bytes]:
    def build() -> bytes:
        data = saved(photo(200, 160), kind, **options)
        return data[: int(len(data) * share)]

    return build
