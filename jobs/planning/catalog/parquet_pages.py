"""How large the pages of a Parquet file are, read from the headers of the pages themselves.

Arrow reserves what a page's header states and fills it from a few bytes: 31 kB may become 1 GB. The footer's sums say
nothing about a page, and may be wrong. Knows the layout of column chunks and the Thrift compact protocol; decodes no
page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

MAX_PAGE_BYTES = 256 << 20
MAX_PAGES = 200_000
MAX_DEPTH = 16
UNCOMPRESSED, COMPRESSED = 2, 3
"""Fields of a page header: sizes of the page."""


class PageError(ValueError):
    """Pages that cannot be read within bounds. The text follows "catalog '...': "."""


def largest_page(file: pq.ParquetFile, data: bytes) -> int:
    """Bytes of the largest page of texts once it is unpacked, dictionaries included; at least 1.

    Raises PageError for a page over MAX_PAGE_BYTES, too many pages, or headers that are damaged.
    """
    largest, count = 1, 0
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            for size in _page_sizes(chunk, data):
                count += 1
                if size > MAX_PAGE_BYTES:
                    raise PageError(
                        f"column '{chunk.path_in_schema}': a page may unpack to {MAX_PAGE_BYTES:,} bytes at most, this "
                        f"one states {size:,}; write shorter cells"
                    )
                if count > MAX_PAGES:
                    raise PageError(f"may have at most {MAX_PAGES:,} pages, has more; write larger pages")
                if chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
                    largest = max(largest, size)
    return largest


def _page_sizes(chunk: Any, data: bytes) -> list[int]:
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset]
    position = min(offset for offset in offsets if offset)
    end = position + chunk.total_compressed_size
    if not 0 < position <= end <= len(data):
        raise PageError(
            f"column '{chunk.path_in_schema}': its pages must lie in the file, lie outside; write it again"
        )
    sizes: list[int] = []
    while position < end and len(sizes) <= MAX_PAGES:
        header = _Header(data, position)
        sizes.append(header.uncompressed)
        position = header.end + header.compressed
    return sizes


@dataclass(slots=True)
class _Header:
    """A page header at a position of the data; raises PageError for what is none."""

    data: bytes
    end: int
    uncompressed: int = -1
    compressed: int = -1

    def __post_init__(self) -> None:
        try:
            fields = self._struct(0)
        except IndexError as error:
            raise PageError("a page's header must be whole, is cut off; write the file again") from error
        self.uncompressed, self.compressed = fields.get(UNCOMPRESSED, -1), fields.get(COMPRESSED, -1)
        if self.uncompressed < 0 or self.compressed < 0:
            raise PageError("a page's header must state sizes of 0 or more; write the file again")

    def _struct(self, depth: int) -> dict[int, int]:
        """Whole numbers by field; everything else is passed over."""
        if depth > MAX_DEPTH:
            raise PageError("a page's header must have few levels, has many; write the file again")
        numbers: dict[int, int] = {}
        field = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            field = field + step if step else self._number()
            value = self._value(kind, depth)
            if value is not None:
                numbers[field] = value
        return numbers

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (4, 5, 6):
            return self._number()
        if kind == 3:
            self.end += 1
        elif kind == 7:
            self.end += 8
        elif kind == 8:
            length = self._unsigned()
            self.end += length
        elif kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._unsigned()
            for _ in range(min(count, len(self.data))):
                self._value(3 if head & 15 in (1, 2) else head & 15, depth + 1)
        elif kind == 12:
            self._struct(depth + 1)
        elif kind not in (1, 2):
            raise PageError(
                f"a page's header must be Thrift, has a field of type {kind}; write the file again"
            )
        return None

    def _byte(self) -> int:
        self.end += 1
        return self.data[self.end - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise PageError("a page's header must have numbers of 64 bits at most; write the file again")

    def _number(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
