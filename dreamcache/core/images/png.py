"""PNG without its side chunks. What is damaged or huge in them says nothing about the pixels.

Knows chunks; decodes no pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from dreamcache.core.images.exif import orientation
from dreamcache.core.images.refusal import TooComplexError
from dreamcache.core.images.stripped import PROFILE_BYTES, Stripped

SIGNATURE_BYTES = 8
MOST_CHUNKS = 100_000
TEXT_BYTES = 1 << 20
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_XMP = b"XML:com.adobe.xmp"
_RAW_EXIF = b"Raw profile type exif"


def strip_png(data: bytes) -> Stripped:
    """Keeps pixels, palette and transparency; frames of an animation other than the first are dropped.

    Chunks whose letters state that a reader may ignore them are ignored where their checksum is wrong.
    """
    remaining: list[bytes | memoryview] = [data[:SIGNATURE_BYTES]]
    view = memoryview(data)
    side: dict[bytes, bytes] = {}
    texts: dict[bytes, bytes] = {}
    has_pixels = False
    for kind, start, end in _chunks(data):
        has_pixels = has_pixels or kind == b"IDAT"
        if kind in _PIXELS:
            remaining.append(view[start:end])
        elif not kind[0] & 0x20 and kind.isalpha():
            remaining.append(view[start:end])  # critical and unknown: Pillow decides
        elif kind in (b"tRNS", b"iCCP", b"eXIf", b"iTXt", b"zTXt", b"tEXt") and _is_sound(data, start, end):
            body = data[start + 8 : end - 4]
            if kind == b"tRNS" and not has_pixels:
                remaining.append(view[start:end])
            elif kind in (b"iCCP", b"eXIf"):
                side.setdefault(kind, body)
            else:
                key = body.partition(b"\0")[0]
                if key in (_XMP, _RAW_EXIF) and key not in texts:
                    texts[key] = _text(kind, body)
    exif = side.get(b"eXIf") or _raw_exif(texts.get(_RAW_EXIF, b""))
    return Stripped(
        data=b"".join(remaining),
        orientation=orientation(exif, texts.get(_XMP)),
        profile=_profile(side.get(b"iCCP", b"")),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of each chunk with its length, name and checksum; the last one may be cut off."""
    at, count = SIGNATURE_BYTES, 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        kind = data[at + 4 : at + 8]
        end = min(at + 12 + length, len(data))
        yield kind, at, end
        if kind == b"IEND":
            return
        at, count = end, count + 1
        if count > MOST_CHUNKS:
            raise TooComplexError(f"a PNG may have at most {MOST_CHUNKS:,} chunks, got more")
    if at < len(data):
        yield b"\0\0\0\0", at, len(data)


def _is_sound(data: bytes, start: int, end: int) -> bool:
    (length,) = struct.unpack_from(">L", data, start)
    if end - start != length + 12:
        return False
    stated = int.from_bytes(data[end - 4 : end], "big")
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == stated


def _text(kind: bytes, body: bytes) -> bytes:
    """The text of a chunk, its first megabyte at most; empty where it does not unpack."""
    _, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return rest[:TEXT_BYTES]
    if kind == b"zTXt":
        return _unpacked(rest[1:], TEXT_BYTES) or b""
    is_packed, rest = rest[:1] == b"\1", rest[2:]
    parts = rest.split(b"\0", 2)
    if len(parts) < 3:
        return b""
    return (_unpacked(parts[2], TEXT_BYTES) or b"") if is_packed else parts[2][:TEXT_BYTES]


def _raw_exif(text: bytes) -> bytes:
    """EXIF as ImageMagick writes it into a text: three lines, then hex digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _profile(body: bytes) -> bytes | None:
    _, _, rest = body.partition(b"\0")
    return _unpacked(rest[1:], PROFILE_BYTES) if rest[:1] == b"\0" else None


def _unpacked(packed: bytes, limit: int) -> bytes | None:
    """At most `limit` bytes; None where they do not unpack."""
    try:
        return zlib.decompressobj().decompress(packed, limit)
    except zlib.error:
        return None
