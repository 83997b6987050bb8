"""The orientation of a photo, from EXIF or XMP. Reads one entry of one directory.

Pillow's reader loads every entry, of which 65,535 may point at the same megabytes. Knows bytes only.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

ORIENTATION = 0x0112
UPRIGHT = 1
_NUMBERS = {1: "B", 3: "H", 4: "L"}
_MOST_ENTRIES = 1024
_XMP_BYTES = 1 << 20
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """1 to 8. exif: a TIFF structure, with or without "Exif" in front. XMP counts where EXIF states none."""
    number = _from_exif((exif or b"").removeprefix(b"Exif\0\0"))
    if number is None and xmp:
        match = _XMP.search(xmp[:_XMP_BYTES])
        number = int(match[1]) if match else None
    return number if number in _TURNS else UPRIGHT


def turned(image: Image.Image, number: int) -> Image.Image:
    """The picture as it is meant to be seen."""
    return image.transpose(_TURNS[number]) if number in _TURNS else image


def _from_exif(data: bytes) -> int | None:
    """None where the block states no orientation, or is damaged: that says nothing about the pixels."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}L", data, 4)
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}H", data, at)
    for entry in range(at + 2, at + 2 + 12 * min(count, _MOST_ENTRIES), 12):
        if entry + 12 > len(data):
            return None
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag == ORIENTATION and kind in _NUMBERS:
            return int(struct.unpack_from(f"{order}{_NUMBERS[kind]}", data, entry + 8)[0])
    return None
