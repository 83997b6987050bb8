"""TIFF with the first page's directory alone, and in it only what decides about pixels.

    header, IFD (any number of tags) --> the same bytes, and behind them a directory of the tags in PIXEL_TAGS

libtiff and Pillow load every tag, and each may point at the same megabytes. Knows directories; decodes no pixels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dreamcache.core.images.exif import UPRIGHT, orientation
from dreamcache.core.images.refusal import TooComplexError
from dreamcache.core.images.stripped import PROFILE_BYTES, Stripped

WIDTH, HEIGHT, BITS, COMPRESSION, OFFSETS, ORIENTATION, SAMPLES = 256, 257, 258, 259, 273, 274, 277
ROWS_PER_STRIP, COUNTS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 278, 279, 322, 323, 324, 325
XMP, PROFILE = 700, 34675
PIXEL_TAGS = frozenset((
    254, 255, WIDTH, HEIGHT, BITS, COMPRESSION, 262, 263, 266, OFFSETS, SAMPLES, ROWS_PER_STRIP, COUNTS, 280, 281,
    284, 292, 293, 317, 320, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, 332, 334, 336, 338, 339, 347,
    *range(512, 522), 529, 530, 531, 532, 32997, 50674,
))  # fmt: skip
MOST_TAGS = 4096
MOST_PIECES = 65_536
"""Strips or tiles; a page of 50 million pixels has 12,000 tiles of 64 x 64."""
TAG_BYTES = 1 << 20
PIECE_BYTES = 512 << 20
"""What one strip or tile unpacks to."""
USUAL_SCANS = 16
_JPEGS = (6, 7)
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """raw: as it stands in the directory. at: where its values begin."""

    raw: bytes
    kind: int
    count: int
    at: int

    @property
    def num_bytes(self) -> int:
        return self.count * _SIZES.get(self.kind, 1)


class _Directory:
    """The first directory of a file, by tag. Raises ValueError, struct.error where it cannot be read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"+\0", b"\0+")
        self.number = "Q" if self.big else "L"
        self.entries: dict[int, _Entry] = {}
        (at,) = struct.unpack_from(f"{self.order}{self.number}", data, 8 if self.big else 4)
        (count,) = struct.unpack_from(f"{self.order}{'Q' if self.big else 'H'}", data, at)
        if count > MOST_TAGS:
            raise TooComplexError(f"a TIFF may have at most {MOST_TAGS:,} tags, got {count:,}")
        size, at = (20, at + 8) if self.big else (12, at + 2)
        for start in range(at, at + size * count, size):
            self._add(start, data[start : start + size])

    def _add(self, start: int, raw: bytes) -> None:
        tag, kind, count = struct.unpack_from(f"{self.order}HH{self.number}", raw)
        values = start + (12 if self.big else 8)
        entry = _Entry(raw=raw, kind=kind, count=count, at=values)
        if entry.num_bytes > (8 if self.big else 4):
            (at,) = struct.unpack_from(f"{self.order}{self.number}", self.data, values)
            entry = _Entry(raw=raw, kind=kind, count=count, at=at)
        self.entries.setdefault(tag, entry)

    def numbers(self, tag: int) -> tuple[int, ...]:
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return ()
        if entry.count > MOST_PIECES:
            raise TooComplexError(
                f"a TIFF may have at most {MOST_PIECES:,} strips or tiles, got {entry.count:,}"
            )
        return struct.unpack_from(f"{self.order}{entry.count}{_INTEGERS[entry.kind]}", self.data, entry.at)

    def first(self, tag: int, default: int) -> int:
        return next(iter(self.numbers(tag)), default)

    def content(self, tag: int, limit: int) -> bytes | None:
        entry = self.entries.get(tag)
        if entry is None or entry.num_bytes > limit or entry.at + entry.num_bytes > len(self.data):
            return None
        return self.data[entry.at : entry.at + entry.num_bytes]


def strip_tiff(data: bytes) -> Stripped:
    """Raises TooComplexError for strips, tiles or tags that ask for more than the page needs."""
    directory = _Directory(data)
    _check_pieces(directory, data)
    stated = directory.first(ORIENTATION, 0)
    turn = stated if stated else orientation(None, directory.content(XMP, PROFILE_BYTES))
    return Stripped(
        data=_rewritten(directory, data),
        orientation=turn if turn in range(1, 9) else UPRIGHT,
        profile=directory.content(PROFILE, PROFILE_BYTES),
    )


def _rewritten(directory: _Directory, data: bytes) -> bytes:
    entries = [
        entry.raw
        for tag, entry in sorted(directory.entries.items())
        if tag in PIXEL_TAGS and entry.kind in _SIZES
    ]
    order, number = directory.order, directory.number
    start = len(data) + len(data) % 2
    table = struct.pack(f"{order}{'Q' if directory.big else 'H'}", len(entries)) + b"".join(entries)
    pointer = struct.pack(f"{order}{number}", start)
    header = data[:8] + pointer if directory.big else data[:4] + pointer
    end = struct.pack(f"{order}{number}", 0)
    return b"".join((header, memoryview(data)[len(header) :], bytes(len(data) % 2), table, end))


def _check_pieces(directory: _Directory, data: bytes) -> None:
    for tag in PIXEL_TAGS & set(directory.entries):
        num_bytes = directory.entries[tag].num_bytes
        if num_bytes > TAG_BYTES:
            raise TooComplexError(
                f"a tag of a TIFF may have at most {TAG_BYTES:,} bytes, tag {tag} has {num_bytes:,}"
            )
    width, height = directory.first(WIDTH, 0), directory.first(HEIGHT, 0)
    rows = min(directory.first(ROWS_PER_STRIP, height), height)
    samples = directory.first(SAMPLES, 1) * -(-max(directory.numbers(BITS) or (1,)) // 8)
    columns = directory.first(TILE_WIDTH, width)
    piece = columns * max(directory.first(TILE_HEIGHT, rows), 1) * samples
    if piece > PIECE_BYTES:
        raise TooComplexError(
            f"a strip or tile of a TIFF may unpack to at most {PIECE_BYTES:,} bytes, got {piece:,}"
        )
    pieces = max(1, len(directory.numbers(OFFSETS)), len(directory.numbers(TILE_OFFSETS)))
    stored = sum(directory.numbers(COUNTS)) + sum(directory.numbers(TILE_COUNTS))
    if pieces > 1 and stored > 2 * len(data):
        raise TooComplexError(
            f"strips or tiles of a TIFF must not share their {len(data):,} bytes, they name {stored:,}"
        )
    if directory.first(COMPRESSION, 1) in _JPEGS and data.count(b"\xff\xda") > USUAL_SCANS * pieces:
        raise TooComplexError(
            f"JPEG within a TIFF may have at most {USUAL_SCANS} scans a strip or tile, got more"
        )
