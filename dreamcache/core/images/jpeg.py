"""JPEG without its metadata, and the number of its scans: each scan passes over all pixels again.

Knows segments; decodes no pixels.
"""

from __future__ import annotations

import re
import struct

from dreamcache.core.images.exif import orientation
from dreamcache.core.images.refusal import TooComplexError
from dreamcache.core.images.stripped import PROFILE_BYTES, Stripped

MOST_SEGMENTS = 20_000
MOST_SCANS = 100
USUAL_SCANS = 16
"""Progressive files of cameras and tools have about 10."""
SCANNED_PIXELS = 1_000_000_000
"""Scans times pixels, a few seconds of decoding."""

_SOS, _EOI, _APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_ALONE = (0x01, *range(0xD0, 0xD9))
# Within a scan 0xFF is followed by 0 or a restart mark; fill bytes may precede a marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_EXIF, _XMP, _PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


class _Metadata:
    """What segments other than pixels say of them."""

    def __init__(self) -> None:
        self.exif: list[bytes] = []
        self.xmp = b""
        self.profiles: list[bytes] = []

    def add(self, marker: int, content: bytes) -> None:
        if marker == _APP1 and content.startswith(_EXIF):
            self.exif.append(content[len(_EXIF) :])
        elif marker == _APP1 and content.startswith(_XMP):
            self.xmp = content[len(_XMP) :]
        elif marker == _APP2 and content.startswith(_PROFILE):
            self.profiles.append(content)


def strip_jpeg(data: bytes) -> Stripped:
    """Keeps JFIF and Adobe segments, which decide about colours. Raises TooComplexError for too many scans."""
    remaining, view, kept_to = list[memoryview](), memoryview(data), 0
    metadata = _Metadata()
    pixels = scans = 0
    at, pattern = 2, _MARKER
    for _ in range(MOST_SEGMENTS):
        match = pattern.search(data, at)
        if match is None:
            break
        marker, begin = match[1][0], match.start()
        if marker == _EOI:
            break
        if marker in _ALONE:
            at, pattern = match.end(), _MARKER
            continue
        if match.end() + 2 > len(data):
            break
        body = match.end() + 2
        end = match.end() + struct.unpack_from(">H", data, match.end())[0]
        at, pattern = max(end, body), _MARKER
        if marker == _SOS:
            scans, pattern = scans + 1, _AFTER_SCAN
            _check_scans(scans, pixels)
        elif marker in _FRAMES and end >= body + 5:
            height, width = struct.unpack_from(">HH", data, body + 1)
            pixels = max(pixels, width * height)
        elif (_APP0 < marker <= _APP15 and marker != _APP14) or marker == _COM:
            metadata.add(marker, data[body:end])
            if scans == 0 and end <= len(data):
                remaining.append(view[kept_to:begin])
                kept_to = end
    else:
        raise TooComplexError(f"a JPEG may have at most {MOST_SEGMENTS:,} segments, got more")
    remaining.append(view[kept_to:])
    return Stripped(
        data=b"".join(remaining),
        orientation=orientation(b"".join(metadata.exif), metadata.xmp),
        profile=_joined(metadata.profiles),
    )


def _check_scans(scans: int, pixels: int) -> None:
    most = max(USUAL_SCANS, min(MOST_SCANS, SCANNED_PIXELS // max(pixels, 1)))
    if scans > most:
        raise TooComplexError(f"a JPEG of {pixels:,} pixels may have at most {most} scans, got more")


def _joined(parts: list[bytes]) -> bytes | None:
    """The profile of its numbered parts; None where one is missing."""
    ordered = sorted(parts)
    if not ordered or len(ordered[0]) < 14 or ordered[0][13] != len(ordered):
        return None
    profile = b"".join(part[14:] for part in ordered)
    return profile if len(profile) <= PROFILE_BYTES else None
