"""Perceptual hashes: 64 bits that stay nearly the same when an image is encoded again or resized.

The 64 lowest frequencies of a 32 x 32 grey image, each above or below their median. A crop moves all frequencies, so
an item has four hashes: of the whole and of its central 90, 80 and 70 %. Knows pixels; nothing of files or ledgers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Grey = NDArray[np.uint8]

SHARES = (1.0, 0.9, 0.8, 0.7)
"""Sides of the hashed parts, of the image's own."""
PAIRS = (*((part, 0) for part in range(len(SHARES))), *((0, part) for part in range(1, len(SHARES))))
"""(part of a stored image, part of a query) that are compared: a crop is a part of the stored image, and of an image
that a border was added to, a part is the stored image."""
SIDE = 32
BITS = 64
HEX_DIGITS = BITS // 4
_FREQUENCIES = sorted(
    ((row, column) for row in range(11) for column in range(11) if row or column),
    key=lambda place: (place[0] + place[1], place),
)[:BITS]
"""Without the mean, whose bit would say nothing."""


def central(pixels: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The part in the middle of [height, width, ...] whose sides are `share` of the whole's."""
    height, width = pixels.shape[:2]
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def hashes_of(rgb: Pixels) -> Hashes:
    """uint64 [4] of uint8 [height, width, 3]: of the whole and of the central parts SHARES."""
    grey: Grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY).astype(np.uint8)
    return np.array([_hash(central(grey, share)) for share in SHARES], np.uint64)


def quarter_turns(rgb: Pixels) -> Iterator[Pixels]:
    """[height, width, 3] as it is, and turned by one, two and three quarters."""
    return (np.rot90(rgb, quarters) for quarters in range(4))


def mirrored_turns(rgb: Pixels) -> Iterator[Pixels]:
    """The quarter turns of the mirrored picture."""
    return quarter_turns(rgb[:, ::-1])


HANDS = (quarter_turns, mirrored_turns)
"""Of the eight ways to lay a picture down, those as it is and those mirrored."""


def _hash(grey: Grey) -> int:
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    frequencies = cv2.dct(small)
    # Rounded: an image of one colour has only numerical noise, which differs between machines.
    values = np.round(np.array([frequencies[place] for place in _FREQUENCIES]), 2)
    bits = values > np.median(values)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def as_text(hashes: Hashes) -> str:
    """Hashes as hexadecimal digits, 16 each: a column of the ledger."""
    return "".join(f"{int(value):016x}" for value in hashes)


def from_text(text: str) -> Hashes:
    """Hashes of `as_text`. ValueError for other texts."""
    if not re.fullmatch(f"[0-9a-f]{{{HEX_DIGITS * len(SHARES)}}}", text):
        raise ValueError(
            f"perceptual hashes must be {HEX_DIGITS * len(SHARES)} hexadecimal digits, got {text[:80]!r}"
        )
    return np.frombuffer(bytes.fromhex(text), ">u8").astype(np.uint64)


def distances(stored: Hashes, query: Hashes) -> NDArray[np.uint8]:
    """Bits by which each stored image [n, 4] differs from a query [4]: the least over PAIRS, [n]."""
    best = np.full(len(stored), BITS, np.uint8)
    for own, other in PAIRS:
        np.minimum(best, np.bitwise_count(stored[:, own] ^ query[other]), out=best)
    return best
