"""A file without what is not pixels: its image data alone, its orientation and its colour profile.

    bytes --png | jpeg | gif | tiff | bmp--> Stripped --> Pillow

Metadata cost decoders time and memory (texts that unpack to gigabytes, thousands of scans, tags that all point at the
same megabytes), and what is damaged in them makes good photos fail. Knows containers; decodes no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dreamcache.core.images.bmp import check_bmp
from dreamcache.core.images.gif import check_gif
from dreamcache.core.images.jpeg import strip_jpeg
from dreamcache.core.images.png import strip_png
from dreamcache.core.images.stripped import Stripped
from dreamcache.core.images.tiff import strip_tiff

STRIPPERS: Mapping[str, Callable[[bytes], Stripped]] = {
    "png": strip_png,
    "jpeg": strip_jpeg,
    "tiff": strip_tiff,
}
CHECKS: Mapping[str, Callable[[bytes], None]] = {"gif": check_gif, "bmp": check_bmp}


def strip(data: bytes, kind: str) -> Stripped:
    """`kind` as `sniff` names it. Raises TooComplexError; ValueError, struct.error for damaged structure."""
    if kind in CHECKS:
        CHECKS[kind](data)
    return STRIPPERS[kind](data) if kind in STRIPPERS else Stripped(data=data)
