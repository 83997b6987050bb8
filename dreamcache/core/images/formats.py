"""Which format a file has, by its first bytes. Knows signatures only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

from PIL import features

ALLOWED_FORMATS = ("png", "jpeg", "webp", "gif", "tiff", "bmp", "avif")
PILLOW_FORMATS = tuple(name.upper() for name in ALLOWED_FORMATS)
IMAGES_NOT_ALLOWED = ("avif", "heic", "jpeg 2000", "jpeg xl", "photoshop", "svg")
_SAMPLE_BYTES = 2048

_TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
_BRAND_END = 64
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _is_media(data: bytes, brands: tuple[bytes, ...]) -> bool:
    """Whether an ISO media file (`ftyp`) states one of these brands, as its own or as a compatible one."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), _BRAND_END)
    return any(data[at : at + 4] in brands for at in (8, *range(16, max(end, 16), 4)))


_SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("png", lambda data: data.startswith(b"\x89PNG")),
    ("jpeg", lambda data: data.startswith(b"\xff\xd8\xff")),
    ("webp", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    ("gif", lambda data: data[:6] in (b"GIF87a", b"GIF89a")),
    ("tiff", lambda data: data[:4] in _TIFF),
    ("bmp", lambda data: data[:2] == b"BM" and data[14:18] in _BMP_HEADERS),
    ("avif", lambda data: _is_media(data, _AVIF_BRANDS)),
    ("heic", lambda data: _is_media(data, _HEIC_BRANDS)),
    ("video", lambda data: data[4:8] == b"ftyp" or data.startswith((b"\x1aE\xdf\xa3", b"\0\0\x01\xba"))),
    ("jpeg 2000", lambda data: data[4:8] == b"jP  " or data.startswith(b"\xff\x4f\xff\x51")),
    ("jpeg xl", lambda data: data.startswith(b"\xff\x0a") or data[4:12] == b"JXL \r\n\x87\n"),
    ("photoshop", lambda data: data.startswith(b"8BPS")),
    ("pdf", lambda data: data.startswith(b"%PDF")),
    ("zip archive", lambda data: data.startswith(b"PK\x03\x04")),
    ("svg", lambda data: b"<svg" in data[:512].lower()),
    ("html", lambda data: b"<html" in data[:512].lower() or b"<!doctype html" in data[:512].lower()),
)


def sniff(data: bytes) -> str:
    """What the first bytes say the file is: a format, "text" or "unknown data"."""
    for name, matches in _SIGNATURES:
        if matches(data):
            return name
    try:
        # A multi-byte character may be cut at the end of the sample.
        errors = "strict" if len(data) <= _SAMPLE_BYTES else "ignore"
        sample = data[:_SAMPLE_BYTES].decode("utf-8", errors=errors)
    except UnicodeDecodeError:
        return "unknown data"
    printable = sum(char.isprintable() or char.isspace() for char in sample)
    return "text" if printable >= 0.95 * max(len(sample), 1) else "unknown data"


def readable_formats() -> tuple[str, ...]:
    """Those of ALLOWED_FORMATS that this Pillow was built with, and HEIC where the extra `heif` is installed."""
    formats = tuple(name for name in ALLOWED_FORMATS if name != "avif" or features.check("avif"))
    return (*formats, "heic") if _reads_heic() else formats


def pillow_name(kind: str) -> str:
    """What Pillow calls a format."""
    return {"heic": "HEIF"}.get(kind, kind.upper())


@cache
def _reads_heic() -> bool:
    """Whether pillow-heif is there; it is then one of Pillow's readers."""
    if find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def ends_early(data: bytes, kind: str) -> bool:
    """Whether the end mark of the format is missing; Pillow's messages do not always show it."""
    if kind == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    marks = {"png": b"IEND", "jpeg": b"\xff\xd9", "gif": b"\0;"}
    return kind in marks and marks[kind] not in data
