"""What stands before the first picture of a GIF, walked before Pillow does it block by block.

Knows blocks; decodes no pixels.
"""

from __future__ import annotations

from dreamcache.core.images.refusal import TooComplexError

MOST_BLOCKS = 100_000
_EXTENSION, _SIZES = 0x21, 13


def check_gif(data: bytes) -> None:
    """Raises TooComplexError for a GIF whose comments and other extensions have too many blocks."""
    flags = data[10] if len(data) > 10 else 0
    at = _SIZES + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while at + 2 < len(data) and data[at] != 0x2C:
        if data[at] != _EXTENSION:
            at, blocks = at + 1, blocks + 1
        else:
            at += 2
            while at < len(data) and data[at]:
                at, blocks = at + 1 + data[at], blocks + 1
                if blocks > MOST_BLOCKS:
                    break
            at += 1
        if blocks > MOST_BLOCKS:
            raise TooComplexError(
                f"a GIF may have at most {MOST_BLOCKS:,} blocks before its picture, got more"
            )
