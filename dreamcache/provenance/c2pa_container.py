"""Whether a file has the container of a C2PA manifest, by its structure. Knows PNG chunks, JPEG segments, RIFF.

Compressed pixels may hold any bytes, so the manifest's name alone shows nothing. Files are anyone's.
"""

from __future__ import annotations

from collections.abc import Iterator

FORMATS = ("png", "jpeg", "webp")
PNG_CHUNK = b"caBX"
RIFF_CHUNK = b"C2PA"
JPEG_BOX = b"JP"
APP11, START_OF_SCAN = 0xEB, 0xDA
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


def has_manifest(data: bytes, file_format: str) -> bool:
    """file_format: one of FORMATS; in others none is looked for. Nothing is verified."""
    match file_format:
        case "png":
            return any(name == PNG_CHUNK for name in _chunks(data, 8, "big", 4))
        case "webp":
            return any(name == RIFF_CHUNK for name in _chunks(data, 12, "little", 0))
        case "jpeg":
            return _in_jpeg(data)
    return False


def _chunks(data: bytes, start: int, order: str, checksum: int) -> Iterator[bytes]:
    """Names of the chunks of a PNG (length, name, content, checksum) or RIFF file (name, length, content, padding)."""
    place = start
    while place + 8 <= len(data):
        first, second = data[place : place + 4], data[place + 4 : place + 8]
        if order == "big":
            name, length = second, int.from_bytes(first, "big")
        else:
            name, length = first, int.from_bytes(second, "little")
            length += length % 2
        yield name
        place += 8 + length + checksum


def _in_jpeg(data: bytes) -> bool:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == START_OF_SCAN:
            return False
        if marker in _WITHOUT_LENGTH:
            place += 2
            continue
        if marker == APP11 and data[place + 4 : place + 6] == JPEG_BOX:
            return True
        place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))
    return False
