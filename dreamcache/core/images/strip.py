"""A file without what is not pixels: its image data alone, its orientation and its colour profile.

    bytes --png | jpeg | gif | tiff | bmp--> Stripped --> Pillow

Metadata cost decoders time and memory (texts that unpack to gigabytes, thousands of scans, tags that all point at the
same megabytes), and what is damaged in them makes good photos fail. Knows containers; decodes no pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PROFILE_BYTES = 16 << 20
"""The largest colour profile that is read; those of printers have up to 3 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stripped:
    """data: a file of the same format and the same pixels. orientation: 1 to 8, None: Pillow reports EXIF.

    profile: the ICC profile, None where there is none or Pillow reports it.
    """

    data: bytes
    orientation: int | None = None
    profile: bytes | None = None


def strip(data: bytes, kind: str) -> Stripped:
    """`kind` as `sniff` names it. Raises TooComplexError; ValueError, struct.error for damaged structure."""
    from dreamcache.core.images.bmp import check_bmp
    from dreamcache.core.images.gif import check_gif
    from dreamcache.core.images.jpeg import strip_jpeg
    from dreamcache.core.images.png import strip_png
    from dreamcache.core.images.tiff import strip_tiff

    strippers: dict[str, Callable[[bytes], Stripped]] = {
        "png": strip_png,
        "jpeg": strip_jpeg,
        "tiff": strip_tiff,
    }
    checks: dict[str, Callable[[bytes], None]] = {"gif": check_gif, "bmp": check_bmp}
    if kind in checks:
        checks[kind](data)
    return strippers[kind](data) if kind in strippers else Stripped(data=data)
